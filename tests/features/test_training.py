import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from skeletons import tiny_training, write_small
from verbs import ROOT, wait_for

from platform.datasets.folder import Dataset
from platform.errors import InputError
from platform.features.extractors import EXTRACTORS, find_extractor
from platform.features.saved import SavedExtractor
from platform.features.training import STAGES, Training, check, extractor_path, train
from platform.training.checkpoints import read_checkpoint


def weights(folder, stage="final"):
    tensors, _ = read_checkpoint(extractor_path(folder, stage))
    return tensors


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def without_seconds(history):
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


def test_each_stage_knows_its_own_classes(trained):
    training, folder = trained
    found = train(training, folder)  # reads what stands there
    assert set(found) == set(STAGES)
    assert set(found["final"].seen) == {"bow", "clap", "kick"}
    fold = found["validation"]
    assert set(fold.seen) | set(fold.record["pseudo_unseen"]) == set(found["final"].seen)
    assert fold.record["clips"] == 8
    assert (found["final"].record["clips"], found["final"].record["metrics"]["test_clips"]) == (18, 18)
    assert found["final"].record["odd"] == {"one frame": 1, "empty": 1, "two bodies": 1}
    assert found["final"].config.bodies == 2  # as many as the training clips show
    assert {path.name for path in folder.iterdir()} == {"final.extractor", "validation.extractor"}


@pytest.mark.parametrize("name", EXTRACTORS)
def test_no_clip_of_an_unseen_class_has_a_say(tmp_path, name):
    for folder, spoil in (("plain", ()), ("spoilt", ("wave",))):
        dataset = write_small(tmp_path / f"{folder}-data", spoil=spoil)
        (tmp_path / folder).mkdir()
        train(tiny_training(dataset, name, epochs=1), tmp_path / folder)
    for stage in STAGES:
        assert_same(weights(tmp_path / "plain", stage), weights(tmp_path / "spoilt", stage))


def test_a_fold_has_nothing_of_its_pseudo_unseen_classes(tmp_path):
    plain = Dataset(write_small(tmp_path / "plain-data"))
    training = tiny_training(plain.folder, epochs=1)
    (pseudo_unseen,) = training.selection(plain, "validation").pseudo_unseen
    spoilt = training.model_copy(update={"dataset": write_small(tmp_path / "spoilt-data", spoil=(pseudo_unseen,))})
    for folder, asked in (("plain", training), ("spoilt", spoilt)):
        (tmp_path / folder).mkdir()
        train(asked, tmp_path / folder)
    assert_same(weights(tmp_path / "plain", "validation"), weights(tmp_path / "spoilt", "validation"))
    final = (weights(tmp_path / folder)["fcn.weight"] for folder in ("plain", "spoilt"))
    assert not torch.equal(*final)


class Cut(Exception):
    pass


@pytest.mark.parametrize("name", EXTRACTORS)
def test_a_training_that_is_cut_off_within_an_epoch_goes_on_to_the_same_weights(tmp_path, name):
    training = tiny_training(write_small(tmp_path / "data"), name, epochs=3, decay_epochs=(2,), checkpoint_seconds=0.0)
    (tmp_path / "cut").mkdir()
    (tmp_path / "whole").mkdir()
    steps = []

    def cut(stage, done, total, metrics):
        steps.append((stage, done))
        if (stage, done) in (("final", 2), ("final", 6), ("validation", 1)) and steps.count((stage, done)) == 1:
            raise Cut

    for _ in range(3):
        with pytest.raises(Cut):
            train(training, tmp_path / "cut", cut)
    train(training, tmp_path / "cut", cut)
    assert steps.count(("final", 1)) == 1  # it went on from its checkpoints
    train(training, tmp_path / "whole")
    for stage in STAGES:
        assert_same(weights(tmp_path / "cut", stage), weights(tmp_path / "whole", stage))
        histories = (
            SavedExtractor.read(extractor_path(tmp_path / run, stage)).record["history"] for run in ("cut", "whole")
        )
        one, other = map(without_seconds, histories)
        assert one == other
    assert [epoch["learning_rate"] for epoch in one] == pytest.approx([0.05, 0.05, 0.005])


def test_seeds_differ_and_repeat(tmp_path, trained):
    training, folder = trained
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        train(training.model_copy(update={"seed": seed, "validation": False}), tmp_path / str(seed))
    assert_same(weights(tmp_path / "0"), weights(folder))
    assert not torch.equal(weights(tmp_path / "1")["fcn.weight"], weights(folder)["fcn.weight"])


def test_it_learns(tmp_path):
    # the rate falls before the end, so that the running statistics of so few steps catch up with the weights
    fields = {"epochs": 12, "batch_size": 6, "frames": 8, "learning_rate": 0.02, "decay_epochs": (6,), "dropout": 0.0}
    training = tiny_training(write_small(tmp_path / "data"), validation=False, turn="facing", scale="torso", **fields)
    found = train(training, tmp_path)["final"]
    assert found.record["history"][-1]["accuracy"] > 0.8
    assert found.record["metrics"]["accuracy"] > 0.6  # of four classes


def test_a_loss_that_diverges_ends_in_one_line(tmp_path):
    training = tiny_training(write_small(tmp_path / "data"), learning_rate=1e30, validation=False)
    with pytest.raises(InputError, match=r"no longer finite in epoch \d; a smaller learning_rate may help"):
        train(training, tmp_path)
    assert not extractor_path(tmp_path, "final").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"extractor": "sttcn"}, "no extractor `sttcn`; did you mean `stgcn`?"),
        ({"config": {"frames": 10}}, "frames=10: input should be a multiple of 4"),
        ({"config": {"kernel": 8}}, "kernel=8: an even kernel has no middle frame"),
        ({"config": {"droput": 0.1}}, "unknown field `droput` of STGCNConfig; did you mean `dropout`?"),
        ({"config": {"batch_size": 9}}, "batch_size=9: 2 workers cannot share it evenly"),
        ({"split": "three"}, "no class split `three`"),
        ({"device": "tpu"}, "device `tpu`"),
    ],
)
def test_what_cannot_be_trained_is_said_before(small_skeletons, fields, message):
    training = tiny_training(small_skeletons)
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        check(Training(**{**training.model_dump(), **fields}), workers=2)


def test_presets_are_configurations():
    for extractor in EXTRACTORS.values():
        for preset in extractor.presets:
            extractor.configure({}, preset)
    with pytest.raises(InputError, match="no preset `papr` of stgcn; did you mean `paper`"):
        find_extractor("stgcn").configure({}, "papr")


def test_a_folder_without_skeletons_is_refused(tmp_path):
    from verbs import write_small_dataset

    with pytest.raises(InputError, match="holds no raw skeletons"):
        check(tiny_training(write_small_dataset(tmp_path / "features"), split="two"))


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_weights(tmp_path, trained):
    training, undisturbed = trained
    training = training.model_copy(update={"checkpoint_seconds": 0.0})
    (tmp_path / "training.json").write_text(training.model_dump_json())
    command = [sys.executable, "-m", "platform.features", "train", "--resume", str(tmp_path), "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / "final.checkpoint").exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not extractor_path(tmp_path, "validation").exists()
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()][-2:] == ["extractor", "extractor"]
    for stage in STAGES:
        one, other = weights(tmp_path, stage), weights(undisturbed, stage)
        for name, tensor in one.items():
            np.testing.assert_allclose(tensor.numpy(), other[name].numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_two_workers_train_together_and_repeat(tmp_path):
    import ray

    from platform import runtime
    from platform.features.workers import train_on_workers

    before = ray.is_initialized()
    runtime.connect()
    training = tiny_training(write_small(tmp_path / "data"), epochs=4)
    try:
        for run in ("one", "other"):
            (tmp_path / run).mkdir()
            found = train_on_workers(training, tmp_path / run, 2, gpus=0.0)
        diverging = training.model_copy(update={"config": {**training.config, "learning_rate": 1e30}})
        with pytest.raises(InputError, match="no longer finite"):
            train_on_workers(diverging, tmp_path, 2, gpus=0.0)
    finally:
        if not before:
            ray.shutdown()
    assert_same(weights(tmp_path / "one"), weights(tmp_path / "other"))
    losses = [epoch["loss"] for epoch in found["final"].record["history"]]
    assert losses[-1] < losses[0]
