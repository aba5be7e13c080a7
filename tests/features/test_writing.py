import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from skeletons import CLASSES, UNSEEN, tiny_training, write_small
from verbs import ROOT, wait_for

from platform.datasets.extractor_check import refuse_seen_classes
from platform.datasets.folder import Dataset
from platform.datasets.text import ClassText
from platform.errors import InputError
from platform.features.clips import prepared_rows
from platform.features.extractors import ShiftGCNConfig
from platform.features.saved import SavedExtractor
from platform.features.shiftgcn import ShiftGCN
from platform.features.training import extractor_path
from platform.features.writing import Writing, check, describe_odd, write
from platform.zeroshot.problem import ProblemOptions, load_problem


@pytest.fixture
def run(trained, tmp_path):
    """A folder with the extractors of a training that has ended, which a test may write to."""
    _, folder = trained
    (tmp_path / "run").mkdir()
    for path in folder.glob("*.extractor"):
        (tmp_path / "run" / path.name).hardlink_to(path)
    return tmp_path / "run"


def asked(trained, tmp_path, **fields):
    training, _ = trained
    options = {"dataset": training.dataset, "out": tmp_path / "out", "feature_set": "stgcn", "chunk": 7, "batch": 4}
    return Writing(**{**options, "training": training, "device": "cpu", **fields})


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
    """What a run wrote into a folder of its own."""
    folder = tmp_path_factory.mktemp("written")
    for path in trained[1].glob("*.extractor"):
        (folder / path.name).hardlink_to(path)
    return write(asked(trained, folder), folder)


def test_the_new_folder_holds_the_networks_features_of_every_clip(trained, written):
    extractor = SavedExtractor.read(extractor_path(trained[1], "final"))
    source = Dataset(trained[0].dataset)
    x = prepared_rows(source, range(60), extractor.config)
    with torch.inference_mode():
        features, logits = extractor.network(x)
    found = written.dataset
    assert next(iter(found.card.features)) == "stgcn"
    np.testing.assert_allclose(found.features("stgcn"), features, rtol=1e-4, atol=1e-5)
    seen = [CLASSES.index(name) for name in extractor.seen]
    np.testing.assert_allclose(found.logits[:, seen], logits, rtol=1e-4, atol=1e-5)
    unseen = [CLASSES.index(name) for name in UNSEEN]
    assert not np.isin(found.logits.argmax(axis=1), unseen).any()
    assert np.isfinite(found.logits).all()
    assert list(found.splits) == ["one"]
    trained_on = found.card.features["stgcn"].trained_on
    assert (trained_on.classes, trained_on.other) == (extractor.seen, "none")
    assert found.card.logits_trained_on == trained_on
    refuse_seen_classes(found, "one", ["stgcn"])
    with pytest.raises(
        InputError, match=r"split `random:2:1`: the extractor behind `stgcn` and the logits was trained on"
    ):
        refuse_seen_classes(found, "random:2:1", ["stgcn"])
    assert found.card.features["stgcn"].extractor.startswith("ST-GCN, trained on the seen classes of split one (3 cla")
    assert found.damaged() == []
    assert written.odd == {"one frame": 1, "empty": 1, "two bodies": 1}
    assert len(describe_odd(written.odd)) == 3


def test_validation_uses_the_extractor_that_never_saw_the_pseudo_unseen_classes(trained, written):
    extractor = SavedExtractor.read(extractor_path(trained[1], "validation"))
    problem = load_problem(
        ProblemOptions(dataset=written.dataset.folder, split="one", text=ClassText(encoder="attributes"))
    )
    task, samples = problem.separate_validation
    assert (task.seen, task.unseen) == (extractor.seen, tuple(extractor.record["pseudo_unseen"]))
    assert not set(UNSEEN) & {*task.seen, *task.unseen}
    validation = written.dataset.validation
    own = validation.card.features["stgcn"].trained_on
    assert own.classes == extractor.seen
    assert not set(own.classes) & set(task.unseen)
    assert validation.card.logits_trained_on == own
    assert set(validation.ids.to_pylist()) <= set(written.dataset.ids.to_pylist())
    rows = [written.dataset.ids.to_pylist().index(i) for i in validation.ids.to_pylist()]
    assert written.dataset.train[rows].all()  # nothing of the test partition
    x = prepared_rows(Dataset(trained[0].dataset), rows, extractor.config)
    with torch.inference_mode():
        expected, _ = extractor.network(x)
    np.testing.assert_allclose(validation.features("stgcn"), expected, rtol=1e-4, atol=1e-5)
    assert len(task.features) == extractor.record["clips"] == int(validation.train.sum())
    assert len(samples.features) == len(rows) - len(task.features)
    # sets that no clip of this data set made are there too, so that any set can be validated on
    np.testing.assert_array_equal(validation.features("row")[:, 0], rows)
    codes = ProblemOptions(dataset=written.dataset.folder, split="one", features="row", text=ClassText(encoder="codes"))
    assert load_problem(codes).separate_validation is not None
    assert validation.damaged() == []


def test_a_folder_whose_other_splits_would_leak_is_refused(trained, run, tmp_path):
    with pytest.raises(InputError, match=r"also has split two, of whose unseen .* saw some; give --out FOLDER"):
        check(asked(trained, tmp_path, out=None), run)


def test_a_folder_of_that_split_alone_takes_more_sets(trained, run, written, tmp_path):
    alone = write(asked(trained, tmp_path, feature_set="first"), run).dataset
    again = asked(trained, tmp_path, dataset=alone.folder, out=None, feature_set="second", logits_set="as_set")
    check(again, run)
    both = write(again, run).dataset
    assert both.folder == alone.folder
    assert list(both.card.features) == ["first", "row", "second", "as_set"]
    assert list(both.validation.card.features) == ["second", "row", "first"]
    np.testing.assert_array_equal(both.features("second"), written.dataset.features("stgcn"))
    assert both.damaged() == both.validation.damaged() == []
    with pytest.raises(InputError, match=r"has a feature set `second`; choose another --name, or --replace it"):
        check(again, run)
    check(again.model_copy(update={"replace": True}), run)


class Cut(Exception):
    pass


def test_a_run_that_is_cut_off_goes_on_with_what_is_left(trained, run, written, tmp_path):
    writing, seen = asked(trained, tmp_path), []

    def cut(stage, done, total):
        seen.append((stage, done, total))
        if (stage, done) == ("final", 21):
            raise Cut

    with pytest.raises(Cut):
        write(writing, run, report=cut)
    assert not writing.out.exists()
    again = write(writing, run, report=lambda *said: seen.append(said)).dataset
    assert [done for stage, done, _ in seen if stage == "final"] == [7, 14, 21, 28, 35, 42, 49, 56, 60]
    np.testing.assert_array_equal(again.features("stgcn"), written.dataset.features("stgcn"))
    assert sorted(path.name for path in run.iterdir()) == ["final.extractor", "validation.extractor"]


def test_published_weights_write_features_alone(small_skeletons, tmp_path):
    dataset = write_small(tmp_path / "data", odd=True)
    torch.manual_seed(0)
    config = ShiftGCNConfig(frames=8, layout="kinect_v2", lengthen="loop")
    extractor = SavedExtractor("shiftgcn", config, "kinect_v2", None, ShiftGCN(60).eval(), {"weights": "some.pt"})
    extractor.write(extractor_path(tmp_path, "final"))
    writing = Writing(dataset=dataset, feature_set="shiftgcn", logits_set="ntu60_logits", device="cpu")
    check(writing, tmp_path)
    found = write(writing, tmp_path).dataset
    assert found.logits is None
    assert found.validation is None
    assert list(found.card.features) == ["row", "shiftgcn", "ntu60_logits"]
    assert found.features("ntu60_logits").shape == (60, 60)
    assert set(found.splits) == {"one", "two"}
    assert "published weights some.pt" in found.card.features["shiftgcn"].extractor


def test_other_data_than_the_trainings_are_refused(trained, run, tmp_path):
    from verbs import write_small_dataset

    with pytest.raises(InputError, match="holds no raw skeletons"):
        check(asked(trained, tmp_path, dataset=write_small_dataset(tmp_path / "features")), run)
    for wrong, message in (
        ({"feature_set": "a/b"}, "expected a name without a slash"),
        ({"out": tmp_path}, "exists already; choose another folder or remove it"),
        ({"device": "tpu"}, "device `tpu`"),
        ({"training": tiny_training(trained[0].dataset, split="two")}, "split two has other unseen classes"),
    ):
        with pytest.raises(InputError, match=message):
            check(asked(trained, tmp_path, **wrong), run)
    with pytest.raises(InputError, match="no extractor stands there; its training has not ended"):
        check(asked(trained, tmp_path), tmp_path)


@pytest.fixture
def ray_stopped_after():
    import ray

    before = ray.is_initialized()
    yield
    if not before:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_stopped_after")
def test_a_ray_data_run_writes_the_same(trained, run, written, tmp_path):
    from platform import runtime

    runtime.connect()
    seen = []
    found = write(asked(trained, tmp_path), run, workers=2, report=lambda *said: seen.append(said))
    for one, other in ((found.dataset, written.dataset), (found.dataset.validation, written.dataset.validation)):
        np.testing.assert_allclose(one.features("stgcn"), other.features("stgcn"), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-5)
    assert found.odd == written.odd
    assert [total for _, done, total in seen if done == total] == [60, len(written.dataset.validation.labels)]


@pytest.mark.slow
def test_a_killed_process_leaves_the_data_folder_whole_and_goes_on(trained, run, tmp_path):
    writing = asked(trained, tmp_path, chunk=2)
    (run / "writing.json").write_text(writing.model_dump_json())
    command = [sys.executable, "-m", "platform.features", "write", "--resume", str(run), "--workers", "0", "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(list(run.glob("chunks/*.safetensors"))) > 3, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not writing.out.exists()
    assert Dataset(writing.dataset).damaged() == []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Dataset(writing.out).damaged() == []
    assert not (run / "chunks").exists()
