import json

import pytest
from optuna.trial import TrialState
from verbs import SMALL_FIELDS

from platform.errors import Unavailable
from platform.method import load_method
from platform.search.halving import Halving
from platform.search.ranking import ranked
from platform.search.space import Dimension, SearchSpace, Stage
from platform.search.stage import StageSource
from platform.search.study import StageStudy
from platform.tracking.store import StoreUnavailable
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import Experiment, Outcome
from platform.zeroshot.problem import ProblemOptions

TRIALS = 6
STAGE = Stage(name="only", trials=TRIALS, sampled={"beta_x": Dimension(uniform=(0, 1))})
SPACE = SearchSpace(source="a test", stages=[STAGE])
METHOD = load_method("methods.sadvae")
SEEDS = (0, 1)


class Recorded:
    """A tracker and a watch in one, which keep what they are given."""

    def __init__(self, known=()):
        self.records, self.rows, self.texts, self.known = {}, [], [], set(known)

    def child_keys(self):
        return self.known

    def child(self, record):
        assert record.key not in self.records
        self.records[record.key] = record

    def trial(self, row):
        self.rows.append(row)

    def said(self, text):
        self.texts.append(text)


@pytest.fixture
def reopen(tmp_path):
    """A function to a stage's source on one folder, as each driver of a search makes it."""

    def opened(size=4, halving=None, recorded=None, metric="harmonic_mean"):
        space = SPACE.model_copy(update={"metric": [metric] if isinstance(metric, str) else metric})

        def experiment(configs):
            return Experiment(
                method="methods.sadvae",
                problem=ProblemOptions(dataset=tmp_path, split="two"),
                protocol=ProtocolOptions(),
                configs=tuple(configs.values()),
                keys=tuple(configs),
                seeds=SEEDS,
                test=False,
            )

        study = StageStudy(tmp_path / "study.journal", space, STAGE, TRIALS, SMALL_FIELDS, 0)
        recorded = recorded or Recorded()
        source = StageSource(tmp_path, METHOD, space, study, experiment, halving, size, 1, recorded, recorded)
        source.take_up()
        return source

    return opened


def outcomes(key, *values, epochs=4, status="finished"):
    """One a seed, with these harmonic means."""
    return [
        Outcome(
            key=key, config={}, seed=seed, split="two", status=status if value is not None else "failed",
            reason="" if value is not None else "not finite", epochs=[{"zsl": 0.0}] * epochs,
            validation={} if value is None else {"harmonic_mean": value, "zsl": value / 2},
        )
        for seed, value in enumerate(values)
    ]  # fmt: skip


def keys(job):
    return list(job.experiment.keys)


def checkpoint(job):
    return job.folder / "validation-0.safetensors"


def test_mean_and_spread_over_seeds_are_told_and_recorded(reopen):
    recorded = Recorded()
    source = reopen(recorded=recorded)
    job = source.next()
    answer = source.exchange(job, {k: outcomes(k, 0.2, 0.4) for k in keys(job)}, {})
    assert answer.stopped == []
    assert list(answer.joining) == ["only-0004", "only-0005"]  # into the places that became free
    record = recorded.records["only-0000"]
    assert record.metrics["validation/harmonic_mean"] == pytest.approx(0.3)
    assert record.metrics["validation/harmonic_mean_std"] == pytest.approx(0.1414, abs=1e-4)
    assert [m.metrics["validation/harmonic_mean"] for m in record.members] == [0.2, 0.4]
    assert source.study.study.trials[0].value == pytest.approx(0.3)
    assert recorded.rows[0].spread["zsl"] == pytest.approx(0.0707, abs=1e-4)


def test_splits_count_like_seeds(reopen):
    recorded = Recorded()
    source = reopen(size=1, recorded=recorded)
    (key,) = keys(job := source.next())
    two, one = outcomes(key, 0.2, 0.4), [o.model_copy(update={"split": "one"}) for o in outcomes(key, 0.6, 0.8)]
    source.exchange(job, {key: two + one}, {})
    assert source.study.study.trials[0].value == pytest.approx(0.5)
    record = recorded.records[key]
    assert record.metrics["validation/harmonic_mean_std"] == pytest.approx(0.2582, abs=1e-4)
    assert [m.key for m in record.members] == [
        f"{key}/{m}" for m in ("two/seed-0", "two/seed-1", "one/seed-0", "one/seed-1")
    ]


def test_two_metrics_are_told_as_two_and_ranked_by_what_weighs_them(reopen):
    source = reopen(size=2, metric=["zsl", "harmonic_mean"])
    job = source.next()
    low, high = keys(job)
    source.exchange(job, {low: outcomes(low, 0.1, 0.1), high: outcomes(high, 0.3, 0.5)}, {})
    assert [t.values for t in source.study.study.trials[:2]] == [[0.05, 0.1], [0.2, 0.4]]
    assert ranked(source.trials(), source.space) == [high, low]


def test_of_equal_trials_the_first_proposed_leads_whichever_ended_first(reopen):
    source = reopen(size=3)
    job = source.next()
    for key in reversed(keys(job)):
        source.exchange(job, {key: outcomes(key, 0.5, 0.5)}, {})
    assert ranked(source.trials(), source.space) == keys(job)
    assert [row.key for row in source.rows()] == keys(job)


def test_one_diverged_seed_fails_its_configuration_alone(reopen):
    recorded = Recorded()
    source = reopen(recorded=recorded)
    job = source.next()
    first, *others = keys(job)
    source.exchange(job, {first: outcomes(first, 0.9, None), **{k: outcomes(k, 0.1, 0.1) for k in others}}, {})
    assert recorded.records[first].status == "FAILED"
    assert recorded.records[first].tags["reason"] == "1 of 2 seeds and splits failed: not finite"
    assert ranked(source.trials(), source.space) == others
    assert source.count("failed") == 1


def test_the_worst_stop_at_a_rung_and_others_come_in(reopen):
    recorded = Recorded()
    source = reopen(size=3, halving=Halving(reduction=2), recorded=recorded)
    job = source.next()
    values = dict(zip(keys(job), (0.1, 0.5, 0.3), strict=True))
    answer = source.exchange(job, {}, {k: outcomes(k, v, v, epochs=2) for k, v in values.items()})
    assert answer.stopped == ["only-0000"]
    assert list(answer.joining) == ["only-0003"]
    assert [row.status for row in recorded.rows] == ["stopped"]
    assert source.study.at_rung(2) == pytest.approx({0: 0.1, 1: 0.5, 2: 0.3})
    late = source.exchange(job, {}, {"only-0003": outcomes("only-0003", 0.2, 0.2, epochs=2)})
    assert late.stopped == ["only-0003"]
    source.exchange(job, {k: outcomes(k, values[k], values[k]) for k in ("only-0001", "only-0002")}, {})
    assert ranked(source.trials(), source.space) == ["only-0001", "only-0002"]
    assert source.count("stopped") == 2


def test_a_seed_that_diverged_before_a_rung_fails_its_configuration_there(reopen):
    recorded = Recorded()
    source = reopen(size=2, halving=Halving(reduction=2), recorded=recorded)
    job = source.next()
    bad, good = keys(job)
    waiting = {bad: outcomes(bad, 0.9, None, epochs=2), good: outcomes(good, 0.1, 0.1, epochs=2)}
    assert source.exchange(job, {}, waiting).stopped == [bad]
    assert source.study.at_rung(2) == {1: 0.1}
    assert recorded.records[bad].tags["outcome"] == "failed"
    assert recorded.records[bad].tags["reason"] == "1 of 2 seeds and splits failed: not finite"
    assert (source.count("failed"), source.count("stopped")) == (1, 0)


def test_whoever_stands_at_a_rung_is_judged_by_all_that_stood_there_before_a_kill(reopen):
    halving = Halving(reduction=2)
    source = reopen(size=2, halving=halving)
    job = source.next()
    waiting = {k: outcomes(k, v, v, epochs=2) for k, v in zip(keys(job), (0.5, 0.3), strict=True)}
    assert source.exchange(job, {}, waiting).stopped == ["only-0001"]
    again = reopen(size=2, halving=halving)
    job = again.next()
    assert keys(job) == ["only-0000", "only-0002"]
    assert again.exchange(job, {}, {"only-0002": outcomes("only-0002", 0.4, 0.4, epochs=2)}).stopped == []
    assert again.exchange(job, {}, {"only-0000": outcomes("only-0000", 0.5, 0.5, epochs=2)}).stopped == []
    late = again.next()
    waiting = {k: outcomes(k, 0.2, 0.2, epochs=2) for k in keys(late)}
    assert again.exchange(late, {}, waiting).stopped == keys(late)


def test_rungs_of_different_epochs_are_judged_apart(reopen):
    source = reopen(size=4, halving=Halving(reduction=2))
    job = source.next()
    a, b, c, d = keys(job)
    waiting = {
        a: outcomes(a, 0.1, 0.1, epochs=2),
        b: outcomes(b, 0.2, 0.2, epochs=2),
        c: outcomes(c, 0.8, 0.8, epochs=4),
        d: outcomes(d, 0.9, 0.9, epochs=4),
    }
    assert source.exchange(job, {}, waiting).stopped == [a, c]


def test_the_halves_of_a_pack_each_have_its_checkpoint(reopen):
    source = reopen()
    job = source.next()
    checkpoint(job).write_text("of all four")
    source.over(job, None, "RuntimeError: out of memory")
    halves = [source.next(), source.next()]
    assert [keys(half) for half in halves] == [["only-0000", "only-0001"], ["only-0002", "only-0003"]]
    assert [checkpoint(half).read_text() for half in halves] == ["of all four"] * 2
    assert len({half.folder for half in halves}) == 2


def test_who_came_in_later_has_deaths_of_its_own(reopen):
    recorded = Recorded()
    source = reopen(size=1, recorded=recorded)
    for _ in range(2):
        source.over(source.next(), None, "")
    job = source.next()
    joined = source.exchange(job, {"only-0000": outcomes("only-0000", 0.5, 0.5)}, {}).joining
    assert list(joined) == ["only-0001"]
    source.over(job, None, "")
    again = source.next()
    assert (keys(again), again.folder) == (["only-0001"], job.folder)
    assert list(recorded.records) == ["only-0000"]


def test_a_lost_pack_goes_out_whole_then_in_halves_until_the_culprit_is_alone(reopen):
    recorded = Recorded()
    source = reopen(recorded=recorded)
    deaths, finished = 0, []
    while (job := source.next()) is not None:
        if "only-0002" in keys(job):
            deaths += 1
            source.over(job, None, "")
        else:
            running = keys(job)
            while running:
                finished += running
                running = list(source.exchange(job, {k: outcomes(k, 0.5, 0.5) for k in running}, {}).joining)
            source.over(job, [], "")
    assert deaths == 4  # whole, whole again, the half, alone
    assert sorted(finished) == [f"only-{i:04d}" for i in (0, 1, 3, 4, 5)]
    assert recorded.records["only-0002"].tags["reason"] == "its worker was lost again and again"
    assert len(recorded.records) == TRIALS
    assert any("lost its worker" in text for text in recorded.texts)


def test_an_error_parts_a_pack_at_once_and_is_the_reason_of_the_one_that_raises_it(reopen):
    recorded = Recorded()
    source = reopen(size=2, recorded=recorded)
    source.over(source.next(), None, "ValueError: bad")
    first = source.next()
    assert keys(first) == ["only-0000"]
    checkpoint(first).write_text("")
    source.over(first, None, "ValueError: bad")
    assert not checkpoint(first).exists()
    assert recorded.records["only-0000"].tags["reason"] == "ValueError: bad"
    assert keys(source.next()) == ["only-0001"]


def test_the_packs_of_a_killed_driver_go_out_again_with_what_is_unfinished(reopen, tmp_path):
    source = reopen(size=3)
    job, other = source.next(), source.next()
    source.exchange(job, {"only-0001": outcomes("only-0001", 0.5, 0.5)}, {})
    assert json.loads((other.folder / "members.json").read_text()) == keys(other)
    recorded = Recorded()
    again = reopen(size=3, recorded=recorded)
    assert list(recorded.records) == ["only-0001"]  # told to Optuna, and perhaps not to MLflow
    one, two = again.next(), again.next()
    assert (one.folder, keys(one)) == (job.folder, ["only-0000", "only-0002"])
    assert (two.folder, keys(two)) == (other.folder, keys(other))
    assert again.next() is None


def test_what_had_ended_before_it_was_told_is_read_and_not_run_again(reopen, tmp_path):
    source = reopen(size=3)
    job = source.next()
    study, source.study = source.study, None  # killed between writing and telling
    with pytest.raises(AttributeError):
        source.exchange(job, {"only-0000": outcomes("only-0000", 0.5, 0.5)}, {})
    assert study.study.trials[0].value is None
    again = reopen(size=3)
    assert keys(again.next()) == ["only-0001", "only-0002"]
    assert again.study.study.trials[0].value == 0.5


def test_a_trial_that_ends_while_the_store_is_away_counts_once_and_as_it_ended(reopen):
    recorded = Recorded()
    source = reopen(size=3, recorded=recorded)
    job = source.next()

    def away(record):
        raise StoreUnavailable("the MLflow store failed 12 times in a row; start it again, and go on with --resume")

    recorded.child = away
    with pytest.raises(Unavailable):
        source.exchange(job, {"only-0000": outcomes("only-0000", 0.5, 0.5)}, {})
    assert source.study.study.trials[0].state == TrialState.RUNNING  # Optuna has heard of no failure
    later = Recorded()
    again = reopen(size=3, recorded=later)
    assert [row.status for row in later.rows] == ["finished"]
    assert list(later.records) == ["only-0000"]
    assert keys(again.next()) == ["only-0001", "only-0002"]
    assert ranked(again.trials(), again.space) == ["only-0000"]


def test_a_stage_that_has_ended_hands_out_nothing_and_counts_the_same(reopen):
    source = reopen(size=3)
    while (job := source.next()) is not None:
        first, *others = keys(job)
        running = {first: outcomes(first, None, None), **{k: outcomes(k, 0.5, 0.5) for k in others}}
        while running:
            running = {k: outcomes(k, 0.5, 0.5) for k in source.exchange(job, running, {}).joining}
        source.over(job, [], "")
        assert not job.folder.exists()
    again = reopen(size=3, recorded=Recorded())
    assert again.next() is None
    assert again.rows() == source.rows()
    assert again.count("failed") == source.count("failed") > 0


def test_what_mlflow_knows_is_not_written_again(reopen):
    source = reopen(size=3)
    job = source.next()
    source.exchange(job, {k: outcomes(k, 0.5, 0.5) for k in keys(job)}, {})
    recorded = Recorded(known=["only-0000", "only-0002"])
    reopen(recorded=recorded)
    assert list(recorded.records) == ["only-0001"]
