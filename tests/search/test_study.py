import importlib.util
import math

import optuna
import pytest

from platform.search.space import Dimension, SearchSpace, Stage
from platform.search.study import Earlier, StageStudy

STAGE = Stage(
    name="only",
    trials=8,
    fixed={"z_r": 64},
    sampled={
        "beta_x": Dimension(uniform=(0, 1)),
        "n_d": Dimension(integer=(1, 16)),
        "batch_size": Dimension(choice=(32, 64, 128)),
        "beta_y": Dimension(log_uniform=(1e-3, 1)),
    },
)
SAMPLERS = ["random", "tpe", "gp", "qmc", "nsgaii"] + (["cmaes"] if importlib.util.find_spec("cmaes") else [])


@pytest.fixture
def reopen(tmp_path):
    """A function that opens the study in one journal, as each process of a search does."""

    def opened(
        sampler="random",
        seed=0,
        mode="max",
        journal="study.journal",
        metric=("harmonic_mean",),
        points=(),
        earlier=(),
        sampled=STAGE.sampled,
        kept=None,
    ):
        stage = STAGE.model_copy(update={"points": list(points), "sampled": sampled})
        space = SearchSpace(source="a test", mode=mode, metric=metric, sampler=sampler, stages=[stage])
        return StageStudy(tmp_path / journal, space, stage, stage.trials, kept or {"epochs": 3}, seed, earlier)

    return opened


def score(proposal):
    return proposal.values["beta_x"] - proposal.values["beta_y"]


def carry_out(study, score=score):
    """Every trial that is left, one by one."""
    proposals = []
    while (proposal := study.next()) is not None:
        study.tell(proposal.number, [score(proposal)])
        proposals.append(proposal)
    return proposals


def test_every_trial_is_proposed_once_with_a_key_of_its_own(reopen):
    proposals = carry_out(reopen())
    assert [p.key for p in proposals] == [f"only-{i:04d}" for i in range(8)]
    assert len({p.values["beta_x"] for p in proposals}) == 8
    assert all(p.values["epochs"] == 3 and p.values["z_r"] == 64 for p in proposals)
    assert reopen().next() is None
    assert reopen().told() == proposals


def test_a_stage_goes_on_with_the_values_that_it_began_with(reopen):
    """Another version may rank the trials of the stages before in another way."""
    first = reopen(kept={"epochs": 3, "lambda_1": 0.5}).next()
    second, third = (reopen(kept={"epochs": 3, "lambda_1": 2.0, "z_v": 8}) for _ in range(2))
    assert second.next() == first
    third.tell(third.next().number, [0.0])
    assert third.next().values["lambda_1"] == 0.5
    assert reopen(kept={"epochs": 3, "lambda_1": 2.0}, journal="new.journal").next().values["lambda_1"] == 2.0


def test_an_unfinished_trial_comes_again_first(reopen):
    study = reopen()
    first, second, third = (study.next() for _ in range(3))
    study.tell(second.number, [0.5])
    study = reopen()
    assert [study.next(), study.next()] == [first, third]
    assert study.next().number == 3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_that_was_interrupted_proposes_the_same(reopen, sampler):
    undisturbed = carry_out(reopen(sampler, journal="undisturbed.journal"))
    for _ in range(3):
        study = reopen(sampler)
        proposal = study.next()
        study.tell(proposal.number, [score(proposal)])
        study.next()  # killed here
    carry_out(reopen(sampler))
    assert reopen(sampler).told() == undisturbed


@pytest.mark.parametrize("fields", [0, 1, 3])
def test_a_trial_that_was_killed_between_two_fields_gets_the_values_it_would_have_had(reopen, monkeypatch, fields):
    expected, original = reopen(journal="undisturbed.journal").next(), Dimension.sample

    def killed(dimension, name, trial, values):
        if len(trial.params) == fields:
            raise KeyboardInterrupt
        return original(dimension, name, trial, values)

    with monkeypatch.context() as patch:
        patch.setattr(Dimension, "sample", killed)
        with pytest.raises(KeyboardInterrupt):
            reopen().next()
    assert len(reopen().study.trials[0].params) == fields
    assert reopen().next() == expected


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_another_seed_proposes_others(reopen, sampler):
    one, other = carry_out(reopen(sampler)), carry_out(reopen(sampler, seed=1, journal="other.journal"))
    assert not {p.values["beta_x"] for p in one} & {p.values["beta_x"] for p in other}


def test_a_low_discrepancy_sequence_fills_every_part_of_a_range(reopen):
    study = reopen("qmc")
    several = [study.next().values["beta_x"] for _ in range(8)]
    # the first trial has only a random place: its fields are not yet known when it is drawn
    assert {int(4 * value) for value in several[1:]} == {0, 1, 2, 3}


def test_a_trial_keeps_the_value_that_it_was_told_first(reopen):
    study = reopen()
    proposal = study.next()
    study.tell(proposal.number, [0.5])
    study.tell(proposal.number, [0.9])
    reopen().tell(proposal.number, None)
    assert reopen().study.trials[0].value == 0.5


def test_a_failed_trial_is_over(reopen):
    study = reopen()
    failed = study.next()
    study.tell(failed.number, None)
    study = reopen()
    assert study.told() == [failed]
    assert study.next().number == 1


POINTS = [{"beta_x": 0.25, "n_d": 3, "batch_size": 64, "beta_y": 0.5}, {"n_d": 7}]
EARLIER = [
    Earlier(f"before/{i}", {"beta_x": 0.9, "n_d": 2, "batch_size": 32, "beta_y": y, "z_r": 8}, {"harmonic_mean": 1 - y})
    for i, y in enumerate((0.1, 0.2, 0.4))
]
MISFITS = [
    Earlier("before/out of range", {**EARLIER[0].values, "beta_x": 2.0}, {"harmonic_mean": 1.0}),
    Earlier("before/without a field", {"beta_x": 0.5}, {"harmonic_mean": 1.0}),
    Earlier("before/another metric", EARLIER[0].values, {"zsl": 1.0}),
    Earlier("before/no number", EARLIER[0].values, {"harmonic_mean": math.nan}),
]


def test_points_are_tried_first_and_completed_by_the_sampler(reopen):
    first, second, *others = carry_out(reopen(points=POINTS))
    assert first.values == {**POINTS[0], "epochs": 3, "z_r": 64}
    assert second.values["n_d"] == 7
    assert 0 <= second.values["beta_x"] <= 1
    assert len(others) == 6


def test_every_point_is_tried_though_another_trial_was_at_the_same_place(reopen):
    before = {name: EARLIER[0].values[name] for name in STAGE.sampled}
    points = [{"n_d": 7}, before, {"n_d": 7}, POINTS[0], POINTS[0]]
    proposals = carry_out(reopen(points=points, earlier=EARLIER))
    for proposal, point in zip(proposals, points, strict=False):
        assert proposal.values.items() >= point.items()
    assert len(proposals) == STAGE.trials
    assert proposals[0].values["beta_x"] != proposals[2].values["beta_x"]


def test_of_more_points_than_trials_the_first_are_tried(reopen):
    points = [{"n_d": 1 + i} for i in range(12)]
    assert [p.values["n_d"] for p in carry_out(reopen(points=points))] == list(range(1, 9))
    assert reopen(points=points).left == 0


def test_points_are_complete_after_a_kill_between_two(reopen, monkeypatch):
    undisturbed = carry_out(reopen(points=POINTS, journal="undisturbed.journal"))
    original, calls = optuna.Study.enqueue_trial, []

    def killed_at_the_second(*args, **kwargs):
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "enqueue_trial", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            reopen(points=POINTS)
    assert carry_out(reopen(points=POINTS)) == undisturbed


def test_a_field_of_a_point_counts_where_its_condition_holds(reopen):
    conditional = {
        "alignment": Dimension(choice=("fd+tc", "fd")),
        "lambda_2": Dimension(uniform=(0, 1), when={"alignment": ["fd+tc"]}),
    }
    points = [{"alignment": "fd", "lambda_2": 0.5}, {"alignment": "fd+tc", "lambda_2": 0.5}, {"alignment": "fd+tc"}]
    proposals = carry_out(reopen(points=points, sampled=conditional), score=lambda proposal: 0.0)
    without, with_it, drawn = (p.values for p in proposals[:3])
    assert without == {"alignment": "fd", "epochs": 3, "z_r": 64}
    assert with_it == {"alignment": "fd+tc", "lambda_2": 0.5, "epochs": 3, "z_r": 64}
    assert 0 <= drawn["lambda_2"] <= 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_points_and_earlier_trials_survive_a_kill(reopen, sampler):
    undisturbed = carry_out(reopen(sampler, journal="undisturbed.journal", points=POINTS, earlier=EARLIER))
    for _ in range(3):
        study = reopen(sampler, points=POINTS, earlier=EARLIER)
        proposal = study.next()
        study.tell(proposal.number, [score(proposal)])
        study.next()
    carry_out(reopen(sampler, points=POINTS, earlier=EARLIER))
    assert reopen(sampler, points=POINTS, earlier=EARLIER).told() == undisturbed
    assert [p.key for p in undisturbed] == [f"only-{i:04d}" for i in range(8)]


def test_earlier_trials_are_learnt_once_where_they_fit_and_are_not_the_searchs_own(reopen):
    for _ in range(2):
        study = reopen("tpe", earlier=[*EARLIER, *MISFITS])
    assert len(study.study.trials) == len(EARLIER)
    assert study.left == STAGE.trials
    assert study.told() == []
    proposal = study.next()
    study.tell(proposal.number, [0.0])
    assert study.told() == [proposal]


def test_a_sampler_learns_from_earlier_trials(reopen):
    many = [
        Earlier(f"before/{i}", {**EARLIER[0].values, "beta_x": i / 40}, {"harmonic_mean": -abs(i / 40 - 0.8)})
        for i in range(40)
    ]
    drawn = [carry_out(reopen("tpe", journal=f"{len(known)}.journal", earlier=known)) for known in ([], many)]
    off, near = (sum(abs(p.values["beta_x"] - 0.8) for p in proposals) for proposals in drawn)
    assert near < off


def test_what_was_reached_at_rungs_is_kept(reopen):
    study = reopen()
    first, second = study.next(), study.next()
    study.rung(first.number, 3, 0.5)
    study.rung(second.number, 3, 0.25)
    study.rung(first.number, 9, 0.75)
    study.rung(first.number, 3, 0.0)  # again, after a kill
    assert reopen().at_rung(3) == {0: 0.5, 1: 0.25}
    assert reopen().at_rung(9) == {0: 0.75}


def test_a_trial_that_was_stopped_is_over_as_one_that_ended(reopen):
    study = reopen()
    stopped, ended = study.next(), study.next()
    study.rung(stopped.number, 3, 0.9)
    study.tell(stopped.number, [0.9], stopped=True)
    study.tell(ended.number, [0.1])
    assert reopen().told() == [stopped, ended]
    assert reopen().study.trials[0].value == 0.9  # what a sampler learns of it


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "cmaes"])
def test_every_other_sampler_takes_two_metrics(reopen, sampler):
    study = reopen(sampler, metric=["unseen", "seen"])
    while (proposal := study.next()) is not None:
        study.tell(proposal.number, [proposal.values["beta_x"], -proposal.values["beta_x"]])
    assert len(reopen(sampler, metric=["unseen", "seen"]).told()) == STAGE.trials


def test_two_metrics_are_learnt_of_earlier_trials_that_have_both(reopen):
    both = {"unseen": 0.5, "seen": 0.25}
    earlier = [Earlier("before/both", EARLIER[0].values, both), Earlier("before/one", EARLIER[0].values, {"seen": 0.9})]
    study = reopen("tpe", metric=["unseen", "seen"], earlier=earlier)
    assert [t.values for t in study.study.trials] == [[0.5, 0.25]]
    proposal = study.next()
    study.tell(proposal.number, [0.1, 0.1])
    assert study.told() == [proposal]


def test_a_line_that_a_kill_left_half_written_is_taken_away(reopen, tmp_path):
    study = reopen()
    proposal = study.next()
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 6, "worker')
    assert reopen().next() == proposal
    assert journal.read_bytes().startswith(whole)
