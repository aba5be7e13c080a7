import pytest
import yaml
from verbs import SMALL_SPACE, invoked, small_options, write_small_dataset

from platform.options import DataOptions
from platform.search.earlier import earlier_trials
from platform.tracking.record import RunRecord, Tracker


@pytest.fixture(scope="module")
def small_dataset(tmp_path_factory):
    return write_small_dataset(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SMALL_SPACE)
    return path


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--trials", "2"], "--trials 2: expected 2 numbers above 0 (one a stage), as in 2,4"),
        (["--trials", "2,many"], "--trials 2,many: expected 2 numbers"),
        (["--trials", "2,0"], "--trials 2,0: expected 2 numbers"),
        (["--sampler", "rndom"], "sampler `rndom`; did you mean `random`?"),
        (["--set", "beta_x=0.1"], "beta_x: stage `first` of space.yaml samples it; use another --space"),
        (["--pack", "0"], "--pack 0: expected auto, or a number of trials"),
        (["--pack", "many"], "--pack many: expected auto"),
        (["--splits", "one,seen"], "--splits one,seen: expected different names separated by commas, and no --split"),
        (["--select", "each"], "--select each: expected together, or per-split"),
        (["--warm-start", "before"], "no search's folder, MLflow experiment or run in"),
        # a preset's batch_size, which the space samples, is not what is wrong
        (["--preset", "pku51-random", "--warm-start", "before"], "no search's folder, MLflow experiment or run in"),
        (["--warm-start", "."], "--warm-start .: no search stands there"),
        (["--protocol", "released"], "--protocol released: expected clean, or both"),
        (["--device", "gpu"], "device `gpu`: expected auto, cpu, cuda or cuda:N"),
        (["--space", "no.yaml"], "no.yaml: no such search-space file; give one with --space"),
        (["--split", "random:9:0"], "split `random:9:0`: UNSEEN must be 2 to 6, and SEED 0 or more"),
    ],
)
def test_what_is_wrong_is_one_line_before_a_folder_is_made(small_dataset, space, tmp_path, wrong, message):
    runs = tmp_path / "runs"
    arguments = ["methods.sadvae", *small_options(small_dataset, runs), "--space", space, *wrong]
    code, output, errors = invoked("tune", *arguments)
    assert (code, output) == (2, "")
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1
    assert not list(runs.glob("tune-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stop-early", "2"], "--stop-early: space.yaml searches unseen and seen; it takes one metric"),
        (["--sampler", "cmaes"], "sampler `cmaes` takes one metric, not unseen and seen; try nsgaii"),
    ],
)
def test_what_takes_one_metric_is_refused_for_two(small_dataset, space, tmp_path, arguments, message):
    space.write_text(yaml.safe_dump({**yaml.safe_load(SMALL_SPACE), "metric": ["unseen", "seen"]}, sort_keys=False))
    runs = tmp_path / "runs"
    asked = ["methods.sadvae", *small_options(small_dataset, runs), "--space", space, *arguments]
    assert invoked("tune", *asked) == (2, "", f"error: {message}\n")
    assert not runs.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--stop-early", 1), ("--fewest-epochs", 0), ("--seeds", 0), ("--test-seeds", 0), ("--ensemble", 0)],
)
def test_a_number_that_is_too_small_is_named_with_its_option(option, value):
    code, output, errors = invoked("tune", "methods.sadvae", option, value)
    assert (code, output) == (2, "")
    assert f"Invalid value for '{option}'" in errors


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ("two,none", "no class split `none`; it has two, one, seen"),
        ("two,two", "--splits two,two: expected different names separated by commas"),
        (" , ", "--splits  , : expected different names separated by commas"),
    ],
)
def test_splits_that_cannot_be_are_named(small_dataset, space, tmp_path, splits, message):
    runs = tmp_path / "runs"
    code, _, errors = invoked(
        "tune",
        "methods.sadvae",
        *without_split(small_options(small_dataset, runs)),
        "--space",
        space,
        "--splits",
        splits,
    )
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert not list(runs.glob("tune-*"))


def test_a_search_learns_from_the_same_splits_alone(small_dataset, space, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    runs = tmp_path / "runs"
    data = DataOptions(dataset=small_dataset, split="two", encoder="attributes").found()
    tracker = Tracker(runs, "unseen")
    tags = {**data.tags(), "method": "methods.sadvae"}
    tracker.parent("before", "before", {}, tags)
    params, metrics = {"beta_x": 0.5}, {"validation/harmonic_mean": 0.5}
    tracker.child(RunRecord("first-0000", "first-0000", params, [], metrics, "FINISHED", {"outcome": "finished"}))
    assert earlier_trials("before", runs, tags, pytest.fail)
    asked = ["methods.sadvae", *without_split(small_options(small_dataset, runs)), "--space", space]
    code, _, errors = invoked("tune", *asked, "--splits", "two,one", "--warm-start", "before")
    refused = "its trials cannot be compared with this search's: class splits `two`, not `two, one`"
    assert (code, errors) == (2, f"error: --warm-start before: {refused}\n")
    assert not list(runs.glob("tune-*"))


def without_split(arguments):
    where = arguments.index("--split")
    return arguments[:where] + arguments[where + 2 :]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "methods.erpcnet",
            "methods.erpcnet learns from pictures or pixels, but `random` is numbers; give --dataset a folder with "
            "pictures or pixels (python -m platform.data import images makes one of pictures)",
        ),
        (
            "linear_pixels",
            "linear_pixels: nothing says what is searched: give a file with --space, put linear_pixels.yaml beside the "
            "module, or let fields of ScoringConfig say a range (platform.configuration.searched)",
        ),
    ],
)
def test_a_method_that_cannot_be_searched_as_asked_says_what_to_give(small_dataset, tmp_path, method, message):
    runs = tmp_path / "runs"
    asked = ["--dataset", small_dataset, "--split", "two", "--encoder", "attributes", "--runs", runs]
    assert invoked("tune", method, *asked) == (2, "", f"error: {message}\n")
    assert not runs.exists()


def test_a_space_that_does_not_fit_the_method_is_refused(small_dataset, space, tmp_path):
    stages = yaml.safe_load(SMALL_SPACE)
    stages["stages"][1]["sampled"]["lambda_1"] = {"integer": [1, 2]}
    space.write_text(yaml.safe_dump(stages))
    runs = tmp_path / "runs"
    code, _, errors = invoked("tune", "methods.sadvae", *small_options(small_dataset, runs), "--space", space)
    assert code == 2
    assert errors == (
        f"error: {space}: stage `second`: `lambda_1` is no integer; sample it with uniform, log_uniform or choice\n"
    )
    assert not runs.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "1"], "give a METHOD, such as methods.sadvae, or --resume FOLDER"),
        (["--resume", "."], "no search stands there"),
        (["methods.sadvae", "--resume", "."], "--resume goes on with what was asked for then"),
    ],
)
def test_a_search_is_new_or_goes_on(arguments, message):
    code, _, errors = invoked("tune", *arguments)
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1
