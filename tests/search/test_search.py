"""Whole searches by the verb: what they report, and what MLflow holds of it."""

import statistics

import pytest
import yaml
from verbs import SMALL_SPACE, ended, events, small_options, started, tracked_runs

from platform.errors import InputError
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

    data = {"data.name": "small", "method": "methods.sadvae"}
    for name in (folder, parent.info.run_name, "unseen"):
        learnt = {trial.name.rpartition("/")[2]: trial for trial in earlier_trials(str(name), folder.parent, data)}
        assert set(learnt) == set(rows)  # and no test of the best
        for key, trial in learnt.items():
            assert trial.metrics == pytest.approx(rows[key])
            assert trial.values["batch_size"] in (16, 32)
    with pytest.raises(InputError, match="no finished trial was found"):
        earlier_trials("unseen", folder.parent, {"data.name": "other"})
    process = started(
        "tune", "methods.sadvae", *small_options(small_dataset, tmp_path / "runs", beta_x=0.05), "--warm-start", folder,
        "--space", folder / "space.yaml", "--trials", "1", "--json", "--pack", 1, "--test-seeds", 1, "--sampler", "tpe",
    )  # fmt: skip
    ended(process)
    (again,) = set((tmp_path / "runs").glob("tune-*")) - {folder}
    assert len(Search(again).earlier) == len(rows)
