"""Whole searches by the verb: what they report, and what MLflow holds of it."""

import statistics

import pytest
import yaml
from verbs import SMALL_FIELDS, SMALL_SPACE, ended, events, small_options, started, tracked_runs

from platform.errors import InputError
from platform.report.results import results_of_folders, results_of_store
from platform.search.earlier import earlier_trials
from platform.search.search import Search
from platform.tracking.store import open_store
from platform.training.trainable import read_outcomes

pytestmark = pytest.mark.slow
MEMBERS = ["one/seed-0", "one/seed-1", "two/seed-0", "two/seed-1"]


def searched(dataset, runs, space, *arguments, **fields):
    """The events of a search, and its folder."""
    path = runs.parent / "space.yaml"
    path.write_text(space)
    options = small_options(dataset, runs, **fields)
    if "--splits" in arguments:
        where = options.index("--split")
        del options[where : where + 2]
    process = started("tune", "methods.sadvae", *options, "--space", path, "--json", *arguments)
    output, _ = ended(process)
    (folder,) = runs.glob("tune-*")
    return output, folder


def test_seeds_splits_and_rungs_of_a_learning_sampler_add_up(small_dataset, tmp_path):
    output, folder = searched(
        small_dataset, tmp_path / "runs", SMALL_SPACE, "--seeds", 2, "--splits", "two,one", "--stop-early", 2,
        "--pack", 3, "--sampler", "tpe", "--test-seeds", 2, "--ensemble", 2, epochs=6,
    )  # fmt: skip
    (report,) = events(output, "report")
    trials = events(output, "trial")
    counts = {status: sum(t["status"] == status for t in trials) for status in ("finished", "stopped", "failed")}
    assert (report["trials"], report["stopped"], report["failed"]) == (6, counts["stopped"], counts["failed"])
    assert counts["stopped"] > 0
    assert all(t["trials_an_hour"] > 0 and t["seconds_left"] >= 0 for t in trials)
    leader = report["leaders"][0]
    outcomes = read_outcomes(folder / "trials" / leader["key"])
    values = [o.validation["harmonic_mean"] for o in outcomes]
    assert [f"{o.split}/seed-{o.seed}" for o in outcomes] == [*MEMBERS[2:], *MEMBERS[:2]]
    assert leader["metrics"]["harmonic_mean"] == pytest.approx(statistics.mean(values))
    assert leader["spread"]["harmonic_mean"] == pytest.approx(statistics.stdev(values))
    assert len(report["tests"]["single"]["clean"]["zsl"]) == 4
    assert len(report["tests"]["ensemble of 2 seeds"]["released"]["zsl"]) == 2

    parent, runs = tracked_runs(folder)
    assert {t["key"] for t in trials} < set(runs)
    client = open_store(folder.parent)
    below = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{runs[leader['key']].info.run_id}'"
    )
    assert sorted(run.info.run_name for run in below) == [f"{leader['key']}/{member}" for member in MEMBERS]
    everything = client.search_runs([parent.info.experiment_id])
    assert {run.info.status for run in everything} == {"FINISHED"}
    assert len({run.data.tags["unseen.key"] for run in everything}) == len(everything)


def test_two_metrics_give_a_front_and_a_later_search_learns_from_it(small_dataset, tmp_path):
    space = yaml.safe_load(SMALL_SPACE)
    space |= {"metric": ["unseen", "seen"], "stages": space["stages"][1:]}
    text = yaml.safe_dump(space, sort_keys=False)
    output, folder = searched(
        small_dataset, tmp_path / "runs", text, "--pack", 4, "--test-seeds", 1, "--ensemble", 1, beta_x=0.05
    )
    (report,) = events(output, "report")
    rows = {row["key"]: row["metrics"] for row in report["leaders"]}
    assert report["front"]
    for key, metrics in rows.items():
        beaten = any(
            o["unseen"] >= metrics["unseen"] and o["seen"] >= metrics["seen"] and o != metrics for o in rows.values()
        )
        assert beaten or key in report["front"] or metrics in [rows[k] for k in report["front"]]
    parent, runs = tracked_runs(folder)
    assert {key for key, run in runs.items() if run.data.tags.get("pareto") == "true"} == set(report["front"])

    data = Search(folder).options.compared
    for name in (folder, parent.info.run_name, "unseen"):
        found = earlier_trials(str(name), folder.parent, data, pytest.fail)
        learnt = {trial.name.rpartition("/")[2]: trial for trial in found}
        assert set(learnt) == set(rows)  # and no test of the best
        for key, trial in learnt.items():
            assert trial.metrics == pytest.approx(rows[key])
            assert trial.values["batch_size"] in (16, 32)
    with pytest.raises(InputError, match="cannot be compared with this search's: data set `small`, not `other`"):
        earlier_trials("unseen", folder.parent, {**data, "data.name": "other"}, pytest.fail)
    process = started(
        "tune", "methods.sadvae", *small_options(small_dataset, tmp_path / "runs", beta_x=0.05), "--warm-start", folder,
        "--space", folder / "space.yaml", "--trials", "1", "--json", "--pack", 1, "--test-seeds", 1, "--sampler", "tpe",
    )  # fmt: skip
    ended(process)
    (again,) = set((tmp_path / "runs").glob("tune-*")) - {folder}
    assert len(Search(again).earlier) == len(rows)


def test_each_split_can_have_its_own_best_of_all_stages(small_dataset, tmp_path):
    """The second stage's rates of learning train nothing, so that the first stage has the best."""
    space = yaml.safe_load(SMALL_SPACE)
    space["stages"][0]["fixed"] = {"learning_rate": 1e-2}
    space["stages"][1] = {"name": "second", "trials": 2, "sampled": {"learning_rate": {"log_uniform": [1e-9, 1e-8]}}}
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump({**space, "metric": "zsl"}, sort_keys=False))
    fields = {name: value for name, value in SMALL_FIELDS.items() if name != "learning_rate"} | {"epochs": 40}
    process = started(
        "tune", "methods.sadvae", "--dataset", small_dataset, "--encoder", "attributes", "--runs", tmp_path / "runs",
        *(part for name, value in fields.items() for part in ("--set", f"{name}={value}")), "--space", path,
        "--splits", "two,seen", "--select", "per-split", "--pack", 2, "--test-seeds", 1, "--ensemble", 2, "--json",
    )  # fmt: skip
    output, _ = ended(process)
    (report,) = events(output, "report")
    assert list(report["by_split"]) == ["two", "seen"]
    for chosen in report["by_split"].values():
        assert chosen["best_key"].startswith("first-")
        assert {row["key"] for row in chosen["leaders"]} == {trial["key"] for trial in events(output, "trial")}
    assert {e["key"] for e in events(output, "tested")} == {f"best-{s}-{n}" for s in ("two", "seen") for n in range(2)}
    assert events(output, "message") == []
    (said,) = events(output, "validation")
    assert said["folds"] == {"two": [[2, 6]] * 3, "seen": [[2, 5]] * 3}
    for split, chosen in report["by_split"].items():
        assert chosen["validated_on"].removeprefix("validation: ") in said["text"]
        assert f"s, u and H of {said['folds'][split][0][1]} classes" in chosen["validated_on"]

    (folder,) = (tmp_path / "runs").glob("tune-*")
    parent, runs = tracked_runs(folder)
    assert parent.data.tags["selection"] == "per-split"
    assert {"best-two-seed-0", "best-seen-seed-0"} < set(runs)
    tested = [r for r in results_of_folders([folder]) if (r.kind, r.protocol) == ("single", "clean")]
    assert {r.data.split for r in tested} == {"two", "seen"}
    for result in tested:
        key = report["by_split"][result.data.split]["best_key"]
        assert result.config == read_outcomes(folder / "trials" / key)[0].config
        assert result.selection == ""


def test_what_splits_share_is_said_at_the_start_and_at_the_end(small_dataset, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SMALL_SPACE)
    options = small_options(small_dataset, tmp_path / "runs")
    where = options.index("--split")
    del options[where : where + 2]
    process = started(
        "tune", "methods.sadvae", *options, "--space", path, "--trials", "2,1", "--splits", "two,one", "--pack", 2,
        "--test-seeds", 1, "--ensemble", 1,
    )  # fmt: skip
    output, _ = ended(process)
    shared = (
        "chosen together over splits: 1 of the 2 unseen classes of `two`, 1 of the 2 unseen classes of `one` are seen "
        "in another split of the selection"
    )
    start, _, end = output.partition("stage first")
    assert f"{shared}; --select per-split chooses for each split alone\n" in start
    assert "validation: ZSL of 2 classes, chance 50.0 %" in start
    assert f"{shared}: what is tested there is no clean number\n" in end
    assert "the best is" in end
    assert "chance 50.0 %" in end  # below the leaderboard
    (folder,) = (tmp_path / "runs").glob("tune-*")
    parent, _ = tracked_runs(folder)
    assert parent.data.tags["selection"] == shared
    assert (
        {r.selection for r in results_of_folders([folder])}
        == {r.selection for r in results_of_store(folder.parent)}
        == {shared}
    )
