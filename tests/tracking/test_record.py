import dataclasses
import json
import math
from collections import Counter
from pathlib import Path

import pytest

from platform.tracking.record import KEY_TAG, RunRecord, Tracker

EPOCHS = [{"epoch": e, "loss": 1 / e, "val accuracy": e / 10} for e in (1, 2, 3)]


class Kill(BaseException):
    """What a test raises in place of the signal that ends a process."""


def kill(*args, **kwargs):
    raise Kill


@pytest.fixture
def artifact(tmp_path):
    (tmp_path / "curve.txt").write_text("1 2 3")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.txt").write_text("0.5")
    return tmp_path


def record(key="trial-1", status="FINISHED", **changes):
    values = {
        "key": key,
        "name": f"run of {key}",
        "params": {"rate": 0.01, "width": 32},
        "epochs": EPOCHS,
        "metrics": {"unseen": 0.7, "bad": math.nan, "far": math.inf},
        "status": status,
        "tags": {"protocol": "clean"},
    }
    return RunRecord(**values | changes)


def begin(tracker):
    tracker.parent("search-1", "a search", {"metric": "unseen"}, {"git.commit": "abc"})


def children(tracker):
    return list(tracker._search(f"tags.`mlflow.parentRunId` = '{tracker._parent}'"))


def tree(tracker):
    """The keys from the search's own run to each below it, with that one's status; none may stand there twice."""
    found, below = {}, [((), tracker._parent)]
    while below:
        path, parent = below.pop()
        for run in tracker._search(f"tags.`mlflow.parentRunId` = '{parent}'"):
            own = (*path, run.data.tags[KEY_TAG])
            assert own not in found
            found[own] = run.info.status
            below.append((own, run.info.run_id))
    return found


def with_members(key="trial-1", status="FINISHED"):
    members = [record(f"{key}/two/seed-{seed}", params={"seed": seed}) for seed in (0, 1)]
    return record(key, status, members=members)


WHOLE = {("trial-1",): "FINISHED", **{("trial-1", f"trial-1/two/seed-{seed}"): "FINISHED" for seed in (0, 1)}}


def points(tracker, run):
    """Every stored metric point of a run: (name, step, value)."""
    return [
        (m.key, m.step, str(m.value))
        for name in run.data.metrics
        for m in tracker._client.get_metric_history(run.info.run_id, name)
    ]


def assert_complete(tracker, run, expected):
    """The run holds all of the record and nothing twice."""
    assert run.info.status == expected.status
    assert run.info.end_time is not None
    assert run.info.run_name == expected.name
    assert run.data.params == {name: str(value) for name, value in expected.params.items()}
    assert run.data.tags.items() >= {**expected.tags, KEY_TAG: expected.key}.items()
    stored = points(tracker, run)
    assert Counter(stored).most_common(1)[0][1] == 1
    assert {p for p in stored if p[0] == "loss"} == {("loss", e["epoch"], str(e["loss"])) for e in EPOCHS}
    assert ("unseen", 3, "0.7") in stored
    assert ("bad", 3, "nan") in stored
    assert len(stored) == 2 * len(EPOCHS) + 3
    names = {f.path for f in tracker._client.list_artifacts(run.info.run_id)}
    assert names == {path.name for path in expected.artifacts}


def test_a_child_is_written_once(tracker, artifact):
    begin(tracker)
    expected = record(artifacts=[artifact / "curve.txt", artifact / "model"])
    tracker.child(expected)
    tracker.child(expected)
    (run,) = children(tracker)
    assert_complete(tracker, run, expected)
    assert tracker.child_keys() == {"trial-1"}


def test_a_table_is_written_once_as_mlflow_reads_tables(tracker, tmp_path):
    (tmp_path / "said.csv").write_text('sample,caption\n0,"a man, running"\n1,\n')
    begin(tracker)
    expected = record(status="FAILED", tables={"captions-clean": tmp_path / "said.csv"})
    for _ in range(2):  # a run that has not FINISHED is completed
        tracker.child(expected)
    (run,) = children(tracker)
    (table,) = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert table == {"path": "captions-clean.json", "type": "table"}
    written = json.loads(Path(tracker._client.download_artifacts(run.info.run_id, table["path"])).read_text())
    assert written == {"columns": ["sample", "caption"], "data": [["0", "a man, running"], ["1", ""]]}


@pytest.mark.parametrize("step", ["create_run", "log_batch", "log_artifact", "log_artifacts", "set_terminated"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_child_whose_writer_was_killed_is_completed(tracker, home, request, monkeypatch, artifact, step, moment):
    begin(tracker)
    expected = record(artifacts=[artifact / "curve.txt", artifact / "model"])
    original = getattr(tracker._client, step)

    def killed(*args, **kwargs):
        if moment == "after":
            original(*args, **kwargs)
        raise Kill

    with monkeypatch.context() as patch:
        patch.setattr(tracker._client, step, killed)
        with pytest.raises(Kill):
            tracker.child(expected)

    resumed = Tracker(home, request.node.name)
    begin(resumed)
    resumed.child(expected)
    (run,) = children(resumed)
    assert_complete(resumed, run, expected)


def test_a_kill_between_two_batches_leaves_no_point_twice(tracker, monkeypatch):
    begin(tracker)
    many = record(epochs=[{"epoch": e, "loss": math.sin(e)} for e in range(2000)], metrics={})
    original, calls = tracker._client.log_batch, []

    def killed_at_the_second(*args, **kwargs):
        calls.append(len(args[1]))
        if len(calls) == 2:
            raise Kill
        original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(tracker._client, "log_batch", killed_at_the_second)
        with pytest.raises(Kill):
            tracker.child(many)
    assert calls == [800, 800]
    tracker.child(many)
    (run,) = children(tracker)
    stored = points(tracker, run)
    assert len(stored) == len(set(stored)) == 2000


@pytest.mark.parametrize("step", ["create_run", "log_batch", "set_terminated"])
def test_an_answer_that_gets_lost_duplicates_nothing(tracker, monkeypatch, step):
    begin(tracker)
    original, lost = getattr(tracker._client, step), []

    def lose_the_first(*args, **kwargs):
        answer = original(*args, **kwargs)
        if not lost:
            lost.append(step)
            raise ConnectionResetError("the answer got lost")
        return answer

    monkeypatch.setattr("platform.tracking.store.time.sleep", lambda seconds: None)
    monkeypatch.setattr(tracker._client, step, lose_the_first)
    tracker.child(record())
    (run,) = children(tracker)
    assert_complete(tracker, run, record())


def test_members_are_runs_below_their_trial_which_ends_after_them(tracker, monkeypatch):
    begin(tracker)
    original, ends = tracker._client.set_terminated, []

    def noted(run_id, status):
        ends.append(tracker._client.get_run(run_id).data.tags[KEY_TAG])
        original(run_id, status)

    monkeypatch.setattr(tracker._client, "set_terminated", noted)
    expected = with_members()
    for _ in range(2):
        tracker.child(expected)
    assert tree(tracker) == WHOLE
    assert ends == ["trial-1/two/seed-0", "trial-1/two/seed-1", "trial-1"]
    assert tracker.child_keys() == {"trial-1"}
    (trial,) = children(tracker)
    assert_complete(tracker, trial, expected)
    members = list(tracker._search(f"tags.`mlflow.parentRunId` = '{trial.info.run_id}'"))
    for run, member in zip(members, expected.members, strict=True):
        assert_complete(tracker, run, member)


WRITES = ("create_run", "log_batch", "set_terminated")  # of each run


@pytest.mark.parametrize("written", range(3 * len(WRITES)))
def test_a_trial_with_members_is_completed_wherever_its_writer_was_killed(tracker, home, request, monkeypatch, written):
    begin(tracker)
    calls = []

    def mortal(original):
        def write(*args, **kwargs):
            if len(calls) == written:
                raise Kill
            calls.append(original)
            return original(*args, **kwargs)

        return write

    with monkeypatch.context() as patch:
        for step in WRITES:
            patch.setattr(tracker._client, step, mortal(getattr(tracker._client, step)))
        with pytest.raises(Kill):
            tracker.child(with_members())

    resumed = Tracker(home, request.node.name)
    begin(resumed)
    resumed.close_orphans()
    resumed.child(with_members())
    assert tree(resumed) == WHOLE
    (trial,) = children(resumed)
    for run in [trial, *resumed._search(f"tags.`mlflow.parentRunId` = '{trial.info.run_id}'")]:
        stored = points(resumed, run)
        assert len(stored) == len(set(stored)) == 2 * len(EPOCHS) + 3


def test_a_trial_whose_member_failed_keeps_all_of_them(tracker):
    begin(tracker)
    sound, broken = with_members().members
    tracker.child(record(status="FAILED", members=[sound, dataclasses.replace(broken, status="FAILED")]))
    assert sorted(tree(tracker).values()) == ["FAILED", "FAILED", "FINISHED"]
    assert tracker.child_keys() == set()


def test_a_tag_may_come_later(tracker):
    begin(tracker)
    tracker.child(record())
    for _ in range(2):
        tracker.tag("trial-1", {"pareto": "true"})
    tracker.tag("trial-2", {"pareto": "true"})  # of which there is no run
    (run,) = children(tracker)
    assert run.data.tags["pareto"] == "true"
    assert run.info.status == "FINISHED"


def test_a_parent_is_found_again_and_runs_again(tracker, home, request):
    begin(tracker)
    tracker.finish("KILLED", {"best": 0.5})
    assert tracker._client.get_run(tracker._parent).info.status == "KILLED"

    resumed = Tracker(home, request.node.name)
    resumed.parent("search-1", "a search", {"metric": "changed", "new": 1}, {"git.commit": "def"})
    assert resumed._parent == tracker._parent
    run = resumed._client.get_run(resumed._parent)
    assert run.info.status == "RUNNING"
    assert run.data.params == {"metric": "unseen", "new": "1"}  # params cannot change
    assert run.data.tags["git.commit"] == "def"

    resumed.finish("FINISHED", {"best": 0.4})
    resumed.finish("FINISHED", {"best": 0.4})
    run = resumed._client.get_run(resumed._parent)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"best": 0.4})
    assert len(points(resumed, run)) == 2


def test_two_searches_may_use_the_same_keys(tracker):
    begin(tracker)
    tracker.child(record())
    tracker.parent("search-2", "another", {}, {})
    assert tracker.child_keys() == set()
    tracker.child(record())
    assert len(children(tracker)) == 1


def test_a_child_that_did_not_finish_may_finish_later(tracker):
    begin(tracker)
    tracker.child(record(status="FAILED", epochs=[], metrics={"unseen": 0.9}))
    assert tracker.child_keys() == set()
    tracker.child(record())
    tracker.child(record(status="FAILED"))
    (run,) = children(tracker)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["unseen"] == 0.7


def test_a_final_value_is_the_latest_of_its_name(tracker):
    begin(tracker)
    tracker.child(record(metrics={"loss": 0.1}))
    (run,) = children(tracker)
    assert run.data.metrics["loss"] == 0.1


def test_orphans_are_closed_and_only_they(tracker, monkeypatch):
    begin(tracker)
    tracker.child(record("done"))
    with monkeypatch.context() as patch:
        patch.setattr(tracker._client, "log_batch", kill)
        with pytest.raises(Kill):
            tracker.child(record("orphan"))
    tracker.close_orphans()
    tracker.close_orphans()
    assert {r.data.tags[KEY_TAG]: r.info.status for r in children(tracker)} == {"done": "FINISHED", "orphan": "KILLED"}
    assert tracker._client.get_run(tracker._parent).info.status == "RUNNING"
    tracker.child(record("orphan"))
    assert tracker.child_keys() == {"done", "orphan"}


def test_orphans_below_a_trial_are_closed_and_none_of_another_search(tracker, monkeypatch):
    for search in ("search-1", "search-2"):
        tracker.parent(search, search, {}, {})
        with monkeypatch.context() as patch:
            patch.setattr(tracker._client, "log_batch", kill)
            with pytest.raises(Kill):
                tracker.child(with_members())
    orphans = {("trial-1",): "RUNNING", ("trial-1", "trial-1/two/seed-0"): "RUNNING"}
    assert tree(tracker) == orphans
    tracker.close_orphans()
    assert tree(tracker) == dict.fromkeys(orphans, "KILLED")
    tracker.parent("search-1", "search-1", {}, {})
    assert tree(tracker) == orphans


def test_names_and_lengths_are_made_to_fit(tracker):
    begin(tracker)
    params = {f"layer[{i}]": i for i in range(150)} | {"prompt": "x" * 7000}
    tracker.child(record(params=params, metrics={"acc@1 (%)": 0.5}, tags={"note?": "y" * 9000}))
    (run,) = children(tracker)
    assert len(run.data.params) == 151
    assert run.data.params["layer_149_"] == "149"
    assert len(run.data.params["prompt"]) == 6000
    assert run.data.metrics["acc_1 ___"] == 0.5
    assert len(run.data.tags["note_"]) == 8000


def test_artifacts_stand_under_home(tracker, home, artifact):
    begin(tracker)
    tracker.finish("FINISHED", artifacts=[artifact / "curve.txt"])
    written = list((home / "artifacts").rglob(f"{tracker._parent}/artifacts/curve.txt"))
    assert [Path(p).read_text() for p in written] == ["1 2 3"]


def test_a_child_needs_its_parent(tracker):
    with pytest.raises(RuntimeError, match=r"Tracker\.parent"):
        tracker.child(record())


def test_a_key_must_be_one_that_can_be_found(tracker):
    begin(tracker)
    with pytest.raises(ValueError, match="quote"):
        tracker.child(record("it's"))
