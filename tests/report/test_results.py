import json
from dataclasses import replace

import pytest
from made_up import result
from verbs import SMALL_FIELDS, invoked, small_options, write_small_dataset

from platform.errors import InputError
from platform.report.data_identity import named_apart
from platform.report.results import (
    latest,
    once,
    results_of_folders,
    results_of_store,
    run_of_folder,
    searches_apart,
    validation_curves,
)
from platform.report.selection import TOGETHER
from platform.tracking.outcome import record_of
from platform.tracking.record import Tracker
from platform.training.trainable import Outcome, read_outcomes, write_outcomes
from platform.zeroshot.problem import ProblemOptions


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A runs folder with one training of two seeds."""
    home = tmp_path_factory.mktemp("home")
    options = small_options(write_small_dataset(home / "small"), home / "runs")
    assert invoked("train", "methods.sadvae", *options, "--seeds", 2, "--json")[0] == 0
    return home / "runs"


def comparable(results):
    return sorted(
        (r.method, r.data, r.protocol, r.kind, r.seed, tuple(sorted(r.metrics.items())), r.run) for r in results
    )


def test_folders_and_the_store_hold_the_same_tests(trained):
    of_folders, of_store = results_of_folders([trained]), results_of_store(trained)
    assert comparable(of_folders) == comparable(of_store)
    assert {(r.kind, r.seed, r.protocol) for r in of_store} == {
        *(("single", seed, protocol) for seed in (0, 1) for protocol in ("clean", "released")),
        *(("ensemble of 2 seeds", 0, protocol) for protocol in ("clean", "released")),
    }
    assert {r.data.classes for r in of_store} == {"6/2"}


def test_counts_of_classes_and_samples_are_the_same_in_both(trained):
    several = [*results_of_folders([trained]), *results_of_store(trained)]
    assert len({tuple(sorted(r.counts.items())) for r in several}) == 1
    assert {"seen": 6, "unseen": 2, "validation_unseen": 2}.items() <= several[0].counts.items()
    assert several[0].counts["unseen_samples"] > 0


def test_an_older_run_has_the_counts_of_classes_that_its_tags_name(trained):
    (folder,) = trained.glob("train-*")
    kept = (folder / "outcomes.json").read_text()
    try:
        older = [{name: v for name, v in outcome.items() if name != "counts"} for outcome in json.loads(kept)]
        (folder / "outcomes.json").write_text(json.dumps(older))
        assert results_of_folders([folder])[0].counts == {"seen": 6, "unseen": 2}
    finally:
        (folder / "outcomes.json").write_text(kept)


def test_a_stored_configuration_has_its_types_again(trained):
    for found in (results_of_folders([trained]), results_of_store(trained)):
        assert {name: found[0].config[name] for name in SMALL_FIELDS} == SMALL_FIELDS
        assert not found[0].searched


def test_runs_of_the_store_are_chosen_by_name(trained):
    (name,) = {r.run for r in results_of_store(trained)}
    assert len(results_of_store(trained, [name])) == len(results_of_store(trained, ["unseen"])) == 6
    with pytest.raises(InputError, match="no run of its own named `other`"):
        results_of_store(trained, [name, "other"])


def test_a_run_folder_says_what_it_tested(trained):
    (folder,) = trained.glob("train-*")
    method, problem, config = run_of_folder(folder)
    assert (method, problem.split, config["z_r"]) == ("methods.sadvae", "two", SMALL_FIELDS["z_r"])
    with pytest.raises(InputError, match="no finished run"):
        run_of_folder(trained)


def test_learning_curves_are_the_same_in_folders_and_the_store(trained):
    for source in (results_of_folders([trained]), results_of_store(trained)):
        one = next(r for r in source if (r.kind, r.seed, r.protocol) == ("single", 1, "clean"))
        curves = validation_curves(one, trained, ("zsl", "no such metric"))
        assert set(curves) == {"zsl"}
        assert len(curves["zsl"]) == 2


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no run stands there"):
        results_of_folders([tmp_path])


@pytest.fixture
def make_search(tmp_path):
    """A function of what a search was asked for, to its folder with a test of each choice."""
    dataset = write_small_dataset(tmp_path / "small")

    def made(folders, **asked):
        folder = tmp_path / "runs" / "tune"
        problem = ProblemOptions(dataset=dataset, split="two", features="random")
        for place, splits in folders.items():
            for split in splits:
                outcome = Outcome(config={}, seed=0, split=split, status="finished", test={"clean": {"zsl": 0.5}})
                outcomes = [*(read_outcomes(folder / "best" / place / "0") or []), outcome]
                write_outcomes(folder / "best" / place / "0", outcomes)
        written = {"method": "methods.sadvae", "problem": problem.model_dump(mode="json"), "splits": ["two", "one"]}
        (folder / "search.json").write_text(json.dumps(written | asked))
        return folder

    return made


@pytest.mark.parametrize("asked", [{"select": "together"}, {}])  # an earlier version wrote nothing of it
def test_a_search_that_chose_together_says_so(make_search, asked):
    found = results_of_folders([make_search({"": ["two", "one"]}, **asked)])
    assert [r.data.split for r in found] == ["two", "one"]
    (said,) = {r.selection for r in found}
    assert said.startswith("chosen together over splits: 1 of the 2 unseen classes of `two`, 1 of the 2")


def test_a_search_that_chose_for_each_split_alone_has_a_test_of_each(make_search):
    folder = make_search({"two": ["two"], "one": ["one"]}, select="per-split")
    found = results_of_folders([folder])
    assert [(r.data.split, r.selection, r.run) for r in found] == [("two", "", "tune"), ("one", "", "tune")]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"data.split": "two, one", "selection": f"{TOGETHER}: 6 of 13"}, f"{TOGETHER}: 6 of 13"),
        ({"data.split": "two, one", "selection": "together"}, ""),
        ({"data.split": "two, one", "selection": "per-split"}, ""),
        ({"data.split": "two"}, ""),
        ({"data.split": "two, one"}, f"{TOGETHER}, and how many of a split's unseen classes are seen in another was"),
    ],
)
def test_the_store_says_how_a_search_chose(tmp_path, monkeypatch, tags, said):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker = Tracker(tmp_path, "unseen")
    tracker.parent("tune", "tune", {"method": "methods.sadvae", "trials": [4]}, tags)
    outcome = Outcome(config={}, seed=0, split="two", status="finished", test={"clean": {"zsl": 0.5}})
    tracker.child(record_of("best-seed-0", outcome, None))
    (found,) = results_of_store(tmp_path)
    assert found.searched
    assert found.selection.startswith(said)
    assert bool(found.selection) == bool(said)


def test_the_latest_of_several_searches_of_one_method_counts():
    older, newer = result("a", 0.4, started=1.0, run="first"), result("a", 0.5, started=2.0, run="second")
    elsewhere = result("a", 0.3, split="ru9", started=1.0, run="first")
    kept, aside = latest([older, newer, elsewhere])
    assert (kept, aside) == ([newer, elsewhere], [])
    assert latest([older, newer]) == ([newer], ["first"])


def test_seeds_that_were_trained_one_by_one_all_count_and_a_repeated_one_once():
    jobs = [
        result("a", value, seed=seed, searched=False, run=f"job {seed}", started=seed)
        for seed, value in enumerate([0.4, 0.5, 0.6])
    ]
    assert once(jobs) == (jobs, [])
    again = result("a", 0.9, seed=1, searched=False, run="again", started=9.0)
    kept, aside = once([*jobs, again])
    assert ({r.metrics["zsl"] for r in kept}, aside) == ({0.4, 0.9, 0.6}, ["job 1"])


def test_searches_of_one_method_are_rows_of_their_own_and_a_run_that_stands_twice_is_one():
    first, second = (result("a", 0.4, run=run) for run in ("first", "second"))
    kept, aside = once([first, second, replace(first, started=2.0)])
    assert [r.run for r in kept] == ["first", "second"]
    assert aside == []
    assert [r.row for r in searches_apart(kept)] == ["a (first)", "a (second)"]
    assert [r.row for r in searches_apart([first, result("b", 0.4)])] == ["", ""]


def test_data_sets_of_one_name_that_hold_different_data_are_named_apart():
    results = [result("a", 0.4, data={"content": content}) for content in ("1234abcd", "5678abcd", "1234abcd")]
    assert [r.data.name for r in named_apart(results)] == ["clips (1234)", "clips (5678)", "clips (1234)"]
    assert named_apart(results[:1]) == results[:1]
    tested = [result("a", 0.4, data={"unseen_test": which}) for which in ("", "test")]
    assert [r.data.name for r in named_apart(tested)] == [
        "clips (as the card says)",
        "clips (test samples of unseen classes)",
    ]


def test_trainings_of_different_configurations_all_count():
    several = [result("a", 0.4, searched=False, config={"beta": beta}, run=f"run {beta}") for beta in (1, 2)]
    assert latest(several) == (several, [])
