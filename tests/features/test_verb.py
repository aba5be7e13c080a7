import signal

import pytest
import torch
from skeletons import TINY, UNSEEN, write_small
from verbs import ended, events, invoked, started, wait_for

from platform.datasets.folder import Dataset
from platform.features.shiftgcn import ShiftGCN
from platform.tracking.record import KEY_TAG
from platform.tracking.store import open_store

FIELDS = [part for name, value in TINY.items() for part in ("--set", f"{name}={list(value) if value == () else value}")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def finished(small_skeletons, runs):
    """The folder of a training by the command line, and what it printed."""
    code, output, errors = invoked(
        "features.verb", "train", "stgcn", "--dataset", small_skeletons, "--split", "one", *FIELDS, "--runs", runs
    )
    assert code == 0
    said = "extractor is near chance; train it for longer (--set epochs=N) before it is used"
    assert errors == f"warning: the final {said}\nwarning: the validation {said}\n"  # one epoch on noise
    (folder,) = runs.glob("features-stgcn-small-*")
    return folder, output


def test_a_training_says_what_it_reached_and_what_to_do_next(finished, runs):
    folder, output = finished
    for words in ("final", "validation", "accuracy", "chance", "1 clips: one frame", "1 clips: no body in any frame"):
        assert words in output
    assert output.rstrip().splitlines()[-1] == (
        f"Next: python -m platform.features write stgcn --from {folder} --out DATA_FOLDER"
    )
    client = open_store(runs)
    found = client.search_runs([client.get_experiment_by_name("unseen").experiment_id])
    by_key = {run.data.tags[KEY_TAG]: run for run in found}
    assert by_key[folder.name].info.status == "FINISHED"
    assert by_key["final"].data.metrics["seen/test_clips"] == 18
    assert by_key["final"].data.params["frames"] == "4"
    assert by_key["validation"].data.tags["pseudo_unseen"]


def test_what_was_trained_is_written_and_says_how_to_train_on_it(finished, tmp_path):
    folder, _ = finished
    arguments = ("--from", folder, "--out", tmp_path / "out", "--workers", 0)
    code, output, errors = invoked("features.verb", "write", "stgcn", *arguments)
    assert (code, errors) == (0, "")
    assert f"{tmp_path / 'out'}: features, seen logits, validation/ of 60 clips as `stgcn`" in output.replace("\n", "")
    chosen = f"--dataset {tmp_path / 'out'} --split one --features stgcn"
    last = f"Next: python -m platform.tune methods.sadvae {chosen} --space search_spaces/sadvae_small.yaml"
    assert output.rstrip().splitlines()[-1] == last
    assert Dataset(tmp_path / "out").validation is not None


def test_as_json_every_line_is_an_event(finished, tmp_path):
    folder, _ = finished
    code, output, _ = invoked("features.verb", "train", "--resume", folder, "--json")
    assert code == 0
    assert [event["stage"] for event in events(output, "extractor")] == ["final", "validation"]
    assert events(output, "extractor")[0]["unseen"] == UNSEEN
    arguments = ("--from", folder, "--out", tmp_path / "out", "--workers", 0, "--json")
    code, output, _ = invoked("features.verb", "write", *arguments)
    assert code == 0
    assert events(output, "clips")[-1]["stage"] == "validation"
    (written,) = events(output, "written")
    assert (written["folder"], written["set"]) == (str(tmp_path / "out"), "stgcn")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "give an EXTRACTOR (stgcn or shiftgcn), or --resume FOLDER"),
        (["train", "stgc"], "no extractor `stgc`; did you mean `stgcn`?"),
        (
            ["train", "stgcn"],
            "--split is needed: DATA has one, two; one may also be drawn: random:UNSEEN:SEED or half:SEED",
        ),
        (["train", "stgcn", "--split", "three"], "DATA: no class split `three`; it has one, two"),
        (["train", "stgcn", "--split", "one", "--set", "frames=7"], "frames=7: input should be a multiple of 4"),
        (["train", "stgcn", "--split", "one", "--set", "stride=1"], "unknown field `stride` of STGCNConfig"),
        (["train", "stgcn", "--split", "one", "--preset", "big"], "no preset `big` of stgcn"),
        (["train", "stgcn", "--split", "one", "--device", "tpu"], "device `tpu`"),
        (["train", "--split", "one", "--resume", "DATA"], "--resume goes on with what was asked for then: leave --"),
        (["write"], "give --from RUN for an extractor trained here, or EXTRACTOR --weights FILE for a published one"),
        (["write", "stgcn", "--from", "DATA"], "--from DATA: no training of an extractor stands there"),
        (["write", "--weights", "no.pt"], "say whose weights they are: write stgcn or write shiftgcn"),
        (["write", "shiftgcn", "--weights", "no.pt"], "--weights no.pt: no such file"),
        (["write", "--from", "DATA", "--pretrained-on", "ntu60"], "--pretrained-on and --trained-on-classes go with"),
    ],
)
def test_what_is_wrong_is_one_line_before_a_folder_is_made(small_skeletons, tmp_path, arguments, message):
    arguments = [str(small_skeletons) if a == "DATA" else a for a in arguments]
    runs = tmp_path / "runs"
    code, output, errors = invoked("features.verb", *arguments, "--dataset", small_skeletons, "--runs", runs)
    assert (code, output) == (2, "")
    assert errors.startswith("error: " + message.replace("DATA", str(small_skeletons)))
    assert errors.count("\n") == 1
    assert not runs.exists()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Released weights of Shift-GCN for 60 classes, drawn at random."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    torch.save(ShiftGCN(60).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("said", "classes", "other"),
    [
        (["--preset", "utd"], "none", ("ntu60",)),
        (["--pretrained-on", "Kinetics-400, our own"], "none", ("Kinetics-400", "our own")),
        (["--pretrained-on", "unknown"], "unknown", "unknown"),
        (["--pretrained-on", "none", "--trained-on-classes", "seen:two"], ("bow", "clap", "raise"), "none"),
    ],
)
def test_published_weights_bring_what_they_were_made_from(weights, tmp_path, said, classes, other):
    arguments = ("--weights", weights, "--dataset", write_small(tmp_path / "data"), "--set", "frames=4", *said)
    code, _, errors = invoked("features.verb", "write", "shiftgcn", *arguments, "--workers", 0, "--runs", tmp_path)
    assert (code, errors) == (0, "")
    trained_on = Dataset(tmp_path / "data").card.features["shiftgcn"].trained_on
    assert (trained_on.classes, trained_on.other) == (classes, other)


def test_what_published_weights_were_made_from_must_be_said(weights, small_skeletons, tmp_path):
    arguments = ("--weights", weights, "--dataset", small_skeletons, "--runs", tmp_path / "runs")
    code, _, errors = invoked("features.verb", "write", "shiftgcn", *arguments)
    assert code == 2
    assert errors.startswith(
        "error: --weights: say what data they were trained on, for the card, as in --pretrained-on"
    )
    assert not (tmp_path / "runs").exists()


def test_a_folder_where_nothing_was_begun_cannot_be_resumed(tmp_path):
    for verb, lacks in (("train", "training.json"), ("write", "writing.json")):
        code, _, errors = invoked("features.verb", verb, "--resume", tmp_path)
        assert code == 2
        assert errors.endswith(f"there (it has no {lacks})\n")


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(small_skeletons, tmp_path):
    arguments = ("train", "stgcn", "--dataset", small_skeletons, "--split", "one", *FIELDS, "--set", "epochs=500")
    process = started("features", *arguments, "--runs", tmp_path)
    wait_for(lambda: list(tmp_path.glob("features-*/clips-*.npy")), process)
    process.send_signal(signal.SIGINT)
    _, errors = ended(process, code=130)
    (folder,) = tmp_path.glob("features-*")
    assert errors == f"stopped; go on with: python -m platform.features train --resume {folder}\n"
