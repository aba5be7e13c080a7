import pytest

from platform.search.space import Dimension, SearchSpace, Stage
from platform.search.study import StageStudy

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


@pytest.fixture
def reopen(tmp_path):
    """A function that opens the study in one journal, as each process of a search does."""

    def opened(sampler="random", seed=0, mode="max", journal="study.journal"):
        space = SearchSpace(source="a test", mode=mode, sampler=sampler, stages=[STAGE])
        return StageStudy(tmp_path / journal, space, STAGE, STAGE.trials, {"epochs": 3}, seed)

    return opened


def score(proposal):
    return proposal.values["beta_x"] - proposal.values["beta_y"]


def carry_out(study):
    """Every trial that is left, one by one."""
    proposals = []
    while (proposal := study.next()) is not None:
        study.tell(proposal.number, score(proposal))
        proposals.append(proposal)
    return proposals


def test_every_trial_is_proposed_once_with_a_key_of_its_own(reopen):
    proposals = carry_out(reopen())
    assert [p.key for p in proposals] == [f"only-{i:04d}" for i in range(8)]
    assert len({p.values["beta_x"] for p in proposals}) == 8
    assert all(p.values["epochs"] == 3 and p.values["z_r"] == 64 for p in proposals)
    assert reopen().next() is None
    assert reopen().told() == proposals


def test_an_unfinished_trial_comes_again_first(reopen):
    study = reopen()
    first, second, third = (study.next() for _ in range(3))
    study.tell(second.number, 0.5)
    study = reopen()
    assert [study.next(), study.next()] == [first, third]
    assert study.next().number == 3


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "qmc", "nsgaii"])
def test_a_search_that_was_interrupted_proposes_the_same(reopen, sampler):
    undisturbed = carry_out(reopen(sampler, journal="undisturbed.journal"))
    for _ in range(3):
        study = reopen(sampler)
        proposal = study.next()
        study.tell(proposal.number, score(proposal))
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
    study.tell(proposal.number, 0.5)
    study.tell(proposal.number, 0.9)
    reopen().tell(proposal.number, None)
    assert reopen().study.trials[0].value == 0.5


@pytest.mark.parametrize(("mode", "best"), [("max", 2), ("min", 0)])
def test_the_best_is_the_first_of_the_best(reopen, mode, best):
    study = reopen(mode=mode)
    for value in (0.1, None, 0.7, 0.7, 0.1):
        study.tell(study.next().number, value)
    assert study.best().number == best
    assert reopen(mode=mode).best() == study.best()


def test_a_failed_trial_is_over_and_never_the_best(reopen):
    study = reopen()
    failed = study.next()
    study.tell(failed.number, None)
    study = reopen()
    assert study.best() is None
    assert study.told() == [failed]
    assert study.next().number == 1
