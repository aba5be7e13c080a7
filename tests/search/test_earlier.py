"""Trials of earlier searches, from their folder and from MLflow."""

import statistics

import pytest

from platform.errors import InputError
from platform.search.earlier import earlier_trials
from platform.search.stage import _statistics
from platform.tracking.outcome import record_of, record_of_trial
from platform.tracking.record import Tracker
from platform.training.trainable import Outcome, write_outcomes

DATA = {"data.name": "small", "data.split": "two", "method": "methods.sadvae"}
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
        others = {"other data": {"data.name": "large"}, "other split": {"data.split": "one"}}
        for name, tags in {"mine": {}, **others, "other method": {"method": "my_lab.method"}}.items():
            tracker.parent(name, name, {}, {**DATA, **tags})
            for several in SEARCH[:1] if tags else SEARCH:
                tracker.child(record_of_trial(several[0].key, several, *_statistics(several)))
            test = outcomes("best", 1.0)[0].model_copy(update={"test": {"clean": {"zsl": 1.0}}})
            tracker.child(record_of("best-seed-0", test, None))
            tracker.finish("FINISHED")
        tracker.parent("single", "single", {}, DATA)
        single = outcomes("only-0000", 0.125)
        tracker.child(record_of_trial("only-0000", single, *_statistics(single)))
    return runs


@pytest.fixture
def folder(tmp_path):
    """A search's folder with the same trials."""
    folder = tmp_path / "tune-earlier"
    for several in SEARCH:
        write_outcomes(folder / "trials" / several[0].key, several)
    (folder / "search.json").write_text("{}")
    return folder


def test_a_folder_gives_the_means_of_what_finished(folder, runs):
    found = earlier_trials(str(folder), runs, DATA)
    assert [trial.name for trial in found] == [f"tune-earlier/{key}" for key in KEYS[:2]]
    assert [trial.metrics for trial in found] == [
        {"harmonic_mean": 0.625, "zsl": 0.3125},
        {"harmonic_mean": 0.375, "zsl": 0.1875},
    ]
    assert found[0].values == CONFIG


def test_a_searchs_run_gives_the_same_of_its_own_data_and_method(runs, folder):
    found = earlier_trials("mine", runs, DATA)
    assert [t.name.rpartition("/")[2] for t in found] == KEYS[:2]
    assert [t.metrics for t in found] == [t.metrics for t in earlier_trials(str(folder), runs, DATA)]
    for field, value in CONFIG.items():
        assert found[0].values[field] == value
        assert type(found[0].values[field]) is type(value)


def test_an_experiment_gives_all_its_searches_of_that_data_and_method(runs):
    found = earlier_trials("unseen", runs, DATA)
    assert sorted(t.metrics["harmonic_mean"] for t in found) == [0.125, 0.375, 0.625]
    assert len({t.name for t in found}) == 3
    (other,) = earlier_trials("unseen", runs, {**DATA, "data.name": "large"})
    assert other.metrics["harmonic_mean"] == statistics.mean([0.5, 0.75])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no search's folder, MLflow experiment or run in .* is named `nowhere`"),
        ("other data", "--warm-start other data: no finished trial was found there"),
        ("other split", "--warm-start other split: no finished trial was found there"),
        ("other method", "--warm-start other method: no finished trial was found there"),
        ("only-0000", "is named `only-0000`"),
    ],
)
def test_a_name_under_which_nothing_fits_is_one_line(runs, name, message):
    with pytest.raises(InputError, match=message) as refused:
        earlier_trials(name, runs, DATA)
    assert "\n" not in str(refused.value)


def test_a_folder_without_a_search_or_without_a_finished_trial_is_named(tmp_path, runs):
    with pytest.raises(InputError, match=f"--warm-start {tmp_path}: no search stands there"):
        earlier_trials(str(tmp_path), runs, DATA)
    (tmp_path / "search.json").write_text("{}")
    write_outcomes(tmp_path / "trials" / KEYS[3], SEARCH[3])
    with pytest.raises(InputError, match=f"--warm-start {tmp_path}: no finished trial was found there"):
        earlier_trials(str(tmp_path), runs, DATA)
