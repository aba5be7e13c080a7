"""Trials of earlier searches, from their folder and from MLflow."""

import json
import shutil
import statistics

import pytest

from platform.datasets.text import ClassText
from platform.errors import InputError
from platform.search.earlier import compared_tags, earlier_trials
from platform.search.ranking import mean_and_spread
from platform.search.search import SearchOptions
from platform.setup import ProblemData
from platform.tracking.outcome import record_of, record_of_trial
from platform.tracking.record import Tracker
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import Outcome, write_outcomes
from platform.zeroshot.problem import ProblemOptions

DATA = {
    "method": "methods.sadvae",
    "data.name": "small",
    "data.checksum": "0123456789abcdef",
    "data.split": "two, one",
    "data.features": "random",
    "data.text": "attributes, name",
    "data.combined": "mean",
    "validation": "folds: 3, drawn by seed 0; 0.2 of the seen samples held out",
}
DIFFERENT = {
    "method": ("my_lab.method", "method `my_lab.method`, not `methods.sadvae`"),
    "data.name": ("large", "data set `large`, not `small`"),
    "data.checksum": ("fedcba9876543210", "checksum of the data set's card `fedcba9876543210`, not `0123456789abcdef`"),
    "data.split": ("two", "class splits `two`, not `two, one`"),
    "data.features": ("pose", "features `pose`, not `random`"),
    "data.text": ("minilm, name", "class text `minilm, name`, not `attributes, name`"),
    "data.combined": ("concatenate", "combination of class texts `concatenate`, not `mean`"),
    "validation": (
        "4 folds",
        "validation `4 folds`, not `folds: 3, drawn by seed 0; 0.2 of the seen samples held out`",
    ),
}
ALL_DIFFERENT = pytest.mark.parametrize("tag", DIFFERENT)
CONFIG = {"beta_x": 0.5, "batch_size": 32, "combination": "hard", "temperature_scaling": True, "learning_rate": 1e-05}
KEYS = ["only-0000", "only-0001", "only-0002", "only-0003"]


def outcomes(key, *values, status="finished"):
    """One a seed, with these harmonic means; None for a seed that failed."""
    return [
        Outcome(
            key=key,
            config=CONFIG,
            seed=seed,
            split="two",
            status=status if value is not None else "failed",
            reason="" if value is not None else "not finite",
            validation={} if value is None else {"harmonic_mean": value, "zsl": value / 2},
        )
        for seed, value in enumerate(values)
    ]


SEARCH = [
    outcomes(KEYS[0], 0.5, 0.75),
    outcomes(KEYS[1], 0.25, 0.5),
    outcomes(KEYS[2], 0.5, None),
    outcomes(KEYS[3], 0.5, 0.5, status="stopped"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A runs folder whose store holds searches of several data sets and methods."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracker = Tracker(runs, "unseen")
        others = {f"other {tag}": {tag: value} for tag, (value, _) in DIFFERENT.items()}
        for name, tags in {**others, "mine": {}}.items():
            tracker.parent(name, name, {}, {**DATA, **tags})
            for several in SEARCH[:1] if tags else SEARCH:
                tracker.child(record_of_trial(several[0].key, several, *mean_and_spread(several)))
            test = outcomes("best", 1.0)[0].model_copy(update={"test": {"clean": {"zsl": 1.0}}})
            tracker.child(record_of("best-seed-0", test, None))
            tracker.finish("FINISHED")
        tracker.parent("single", "single", {}, DATA)
        single = outcomes("only-0000", 0.125)
        tracker.child(record_of_trial("only-0000", single, *mean_and_spread(single)))
    return runs


@pytest.fixture
def make_folder(tmp_path):
    """A function of what a search wrote that it compares, to its folder with the same trials."""

    def made(compared, **others):
        folder = tmp_path / "tune-earlier"
        for several in SEARCH:
            write_outcomes(folder / "trials" / several[0].key, several)
        problem = ProblemOptions(dataset=tmp_path, split="two")
        asked = {
            "name": folder.name, "method": "methods.sadvae", "problem": problem, "protocol": ProtocolOptions(),
            "base": {}, "trials": [4], "sampler": "random", "seed": 0, "seeds": 2, "splits": ["two", "one"],
            "pack": None, "halving": None, "test_seeds": 1, "ensemble": 1, "cpus": 1.0, "gpus": None, "device": "auto",
            "compared": compared,
        }  # fmt: skip
        (folder / "search.json").write_text(SearchOptions(**asked | others).model_dump_json())
        return folder

    return made


@pytest.fixture
def folder(make_folder):
    return make_folder(DATA)


def learnt(name, runs, wanted=DATA):
    """What is learnt where nothing has to be said."""
    said = []
    found = earlier_trials(str(name), runs, wanted, said.append)
    assert said == []
    return found


def refused(name, runs, wanted=DATA):
    """The one line that refuses it."""
    with pytest.raises(InputError) as caught:
        earlier_trials(str(name), runs, wanted, pytest.fail)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_gives_the_means_of_what_finished(folder, runs):
    found = learnt(folder, runs)
    assert [trial.name for trial in found] == [f"tune-earlier/{key}" for key in KEYS[:2]]
    assert [trial.metrics for trial in found] == [
        {"harmonic_mean": 0.625, "zsl": 0.3125},
        {"harmonic_mean": 0.375, "zsl": 0.1875},
    ]
    assert found[0].values == CONFIG


def test_a_searchs_run_gives_the_same(runs, folder):
    found = learnt("mine", runs)
    assert [t.name.rpartition("/")[2] for t in found] == KEYS[:2]
    assert [t.metrics for t in found] == [t.metrics for t in learnt(folder, runs)]
    for field, value in CONFIG.items():
        assert found[0].values[field] == value
        assert type(found[0].values[field]) is type(value)


def test_an_experiment_gives_those_of_its_searches_that_can_be_compared_and_says_so(runs):
    said = []
    found = earlier_trials("unseen", runs, DATA, said.append)
    assert sorted(t.metrics["harmonic_mean"] for t in found) == [0.125, 0.375, 0.625]
    assert len({t.name for t in found}) == 3
    (line,) = said
    assert line.startswith(f"--warm-start unseen: {len(DIFFERENT)} of {len(DIFFERENT) + 2} searches are left out, as ")
    assert DIFFERENT["validation"][1] in line  # the last one's
    (other,) = earlier_trials("unseen", runs, {**DATA, "data.name": "large"}, said.append)
    assert other.metrics["harmonic_mean"] == statistics.mean([0.5, 0.75])


@ALL_DIFFERENT
def test_whatever_differs_is_refused_by_name_of_a_folder_and_of_a_run_alike(make_folder, runs, tag):
    value, words = DIFFERENT[tag]
    folder = make_folder({**DATA, tag: value})
    compared = "its trials cannot be compared with this search's"
    assert refused(folder, runs) == f"--warm-start {folder}: {compared}: {words}"
    assert refused(f"other {tag}", runs) == f"--warm-start other {tag}: {compared}: {words}"


def test_an_experiment_without_any_that_can_be_compared_is_refused(runs):
    assert "class splits `two, one`, not `three`" in refused("unseen", runs, {**DATA, "data.split": "three"})


@ALL_DIFFERENT
def test_what_earlier_versions_did_not_record_is_not_compared(make_folder, runs, tag):
    recorded = {name: value for name, value in DATA.items() if name != tag}
    assert len(learnt(make_folder(recorded), runs)) == 2


def test_splits_are_the_same_in_another_order(make_folder, runs):
    assert len(learnt(make_folder({**DATA, "data.split": "one, two"}), runs)) == 2


def test_of_a_folder_that_recorded_nothing_what_was_asked_for_is_compared(make_folder, small_dataset, tmp_path, runs):
    problem = ProblemOptions(
        dataset=small_dataset, split="two", features="random", text=ClassText(encoder="attributes")
    )
    wanted = compared_tags("methods.sadvae", ProblemData.of(problem, ["two", "one"]), ProtocolOptions())
    assert len(learnt(make_folder({}, problem=problem), runs, wanted)) == 2
    folder = make_folder({}, problem=problem, protocol=ProtocolOptions(folds=4))
    assert refused(folder, runs, wanted).endswith(
        "validation `folds: 4, drawn by seed 0; 0.2 of the seen samples held out`, "
        "not `folds: 3, drawn by seed 0; 0.2 of the seen samples held out`"
    )
    folder = make_folder({}, problem=problem.model_copy(update={"dataset": tmp_path / "away"}))
    assert refused(folder, runs, wanted).startswith(
        f"--warm-start {folder}: its data cannot be compared: {tmp_path / 'away'} is no data folder"
    )


def test_the_same_data_elsewhere_are_the_same_and_others_are_not(small_dataset, tmp_path):
    def tags(dataset):
        problem = ProblemOptions(dataset=dataset, split="two", text=ClassText(encoder="attributes"))
        return compared_tags("methods.sadvae", ProblemData.of(problem), ProtocolOptions())

    copied = shutil.copytree(small_dataset, tmp_path / "copied")
    assert tags(copied) == tags(small_dataset)
    card = json.loads((copied / "dataset.json").read_text())
    card["checksums"]["samples.arrow"] = "of other samples"
    (copied / "dataset.json").write_text(json.dumps(card))
    assert {name for name, text in tags(copied).items() if tags(small_dataset)[name] != text} == {"data.checksum"}


@pytest.mark.parametrize("name", ["nowhere", "only-0000"])  # a trial's run is no search's
def test_a_name_under_which_there_is_nothing_is_one_line(runs, name):
    assert f"no search's folder, MLflow experiment or run in {runs} is named `{name}`" in refused(name, runs)


def test_a_folder_without_a_search_or_without_a_finished_trial_is_named(tmp_path, runs, folder):
    assert refused(tmp_path, runs).startswith(f"--warm-start {tmp_path}: no search stands there")
    for key in KEYS[:2]:
        (folder / "trials" / key / "outcomes.json").unlink()
    assert refused(folder, runs) == f"--warm-start {folder}: no finished trial was found there"
    (folder / "search.json").write_text("{}")
    assert refused(folder, runs).startswith(f"--warm-start {folder}: its search.json is no search's (")
