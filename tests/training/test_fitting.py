import math
from dataclasses import dataclass, field

import pytest
import torch

from platform.errors import InputError
from platform.method import Member, Method, MethodConfig, Model, Population
from platform.training import fitting as fitting_module
from platform.training.checkpoints import read_checkpoint, write_checkpoint
from platform.training.fitting import (
    Fitting,
    TrainingGroup,
    best_epoch,
    chosen_epoch,
    epoch_of_best,
    is_finite,
    until_they_end,
)
from platform.workers import Workers

CPU = torch.device("cpu")
EPOCHS = 5
SCORES = {0: [1, 3, 2, 3, 0], 1: [2, 0, 5, 1, 4]}  # of each member at each epoch


@dataclass(frozen=True)
class Counted(Model):
    """Holds how far its member had come."""

    position: torch.Tensor

    def unseen_scores(self, x):
        return self.position

    def seen_scores(self, x):
        return self.position

    def with_classes(self, names, semantics):
        return self

    def state(self):
        return {"position": self.position}, {"digits": 1}

    @classmethod
    def from_state(cls, tensors, values):
        return cls(values["seen"], values["unseen"], values["combination"], tensors["position"])


@dataclass
class Counting(Method):
    """Its state is a sum of cubes, so that a repeated or a left-out epoch shows.

    diverging: seed to the epoch from which its losses are infinite; epochs_run: the epochs of all members, by seed.
    """

    Config, Model, citation = MethodConfig, Counted, ""
    data_parallel = "equal"
    diverging: dict[int, int] = field(default_factory=dict)
    epochs_run: list[dict[int, int]] = field(default_factory=list)

    def population(self, members, workers):
        return CountingPopulation(self, members)


class CountingPopulation(Population):
    def __init__(self, method, members):
        self.method, self.members = method, members
        self.sums = [m.state["sum"] if m.state else torch.zeros(()) for m in members]
        self.epochs = [int(m.state["epoch"]) if m.state else 0 for m in members]

    def train_epoch(self):
        counted = list(zip(self.members, self.sums, self.epochs, strict=True))
        self.method.epochs_run.append({m.seed: epoch for m, _, epoch in counted})
        self.sums = [total + m.seed * (epoch + 1) ** 3 for m, total, epoch in counted]
        losses = [
            {"loss": math.inf if epoch >= self.method.diverging.get(m.seed, math.inf) else total.item() / 3}
            for m, total, epoch in zip(self.members, self.sums, self.epochs, strict=True)
        ]
        self.epochs = [epoch + 1 for epoch in self.epochs]
        return losses

    def models(self, places):
        tasks = [self.members[i].task for i in places]
        return [Counted(task.seen, task.unseen, None, self.sums[i]) for i, task in zip(places, tasks, strict=True)]

    def states(self, places):
        return [{"sum": self.sums[i], "epoch": torch.tensor(self.epochs[i])} for i in places]


class Cut(Exception):
    """A kill."""


def score(m, model):
    return {"score": SCORES[m][round(epoch_of(model, m + 1))]}


def epoch_of(model, seed):
    """Sums of cubes are squares of triangle numbers."""
    triangle = (model.position.item() / seed) ** 0.5
    return (-1 + (1 + 8 * triangle) ** 0.5) / 2 - 1


@pytest.fixture
def group(problem):
    """A function of options to a training group of two members."""

    def group(**changes):
        options = {
            "evaluate": score,
            "selections": {"best": best_epoch([[0], [1]], "score"), "third": chosen_epoch([2, 0])},
            "last_epoch": EPOCHS - 1,
        }
        members = [Member(problem.task, MethodConfig(), seed) for seed in (1, 2)]
        return TrainingGroup("both", members, **{**options, **changes})

    return group


@pytest.fixture
def watch(tmp_path, monkeypatch):
    """A function to a Fitting that writes every epoch down."""
    monkeypatch.setattr(fitting_module, "_WRITING_SHARE", math.inf)  # else few of such short epochs are

    def watch(*groups, method=None, **changes):
        options = {"checkpoint": tmp_path / "fit.safetensors", "checkpoint_seconds": 0, "workers": Workers(CPU)}
        return Fitting(method or Counting(), groups, **{**options, **changes})

    return watch


def outcome(group):
    kept = {(k, m): model.position.item() for k, models in group.kept.items() for m, model in models.items()}
    return group.history, kept


def test_a_fit_ends_after_its_last_epoch(group, watch):
    fitted = group(last_epoch=2)
    fitting = watch(fitted)
    fitting.fit()
    assert fitting.method.epochs_run == [{1: epoch, 2: epoch} for epoch in range(3)]
    assert [[m["score"] for m in epoch] for epoch in fitted.history] == [[1, 2], [3, 0], [2, 5]]
    assert fitted.history[1][0]["loss"] == 3


def test_the_wanted_models_are_kept(group, watch):
    fitted = group()
    watch(fitted).fit()
    epochs = {k: [round(epoch_of(models[m], m + 1)) for m in (0, 1)] for k, models in fitted.kept.items()}
    assert epochs == {"best": [1, 2], "third": [2, 0]}  # the first of equally good epochs


def test_a_subset_is_kept_at_its_best_mean(group, watch):
    fitted = group(selections={"best": best_epoch([[0, 1]], "score")})
    watch(fitted).fit()
    assert [round(epoch_of(fitted.kept["best"][m], m + 1)) for m in (0, 1)] == [2, 2]
    assert epoch_of_best(fitted.history, [0, 1], "score") == 2


@pytest.mark.parametrize(("first", "best"), [(0, 1), (1, 1), (2, 3), (EPOCHS, 1)])
def test_epochs_before_the_first_count_only_while_there_is_no_other(group, watch, first, best):
    fitted = group(selections={"best": best_epoch([[0]], "score", first)})
    watch(fitted).fit()
    assert round(epoch_of(fitted.kept["best"][0], 1)) == best == epoch_of_best(fitted.history, [0], "score", first)


@pytest.mark.parametrize("at", range(EPOCHS))
@pytest.mark.parametrize("seed", [1, 2])
def test_a_subset_with_a_diverged_member_is_kept_at_the_best_epoch(group, watch, seed, at):
    fitted = group(selections={"best": best_epoch([[0, 1]], "score")})
    watch(fitted, method=Counting({seed: at})).fit()
    said = epoch_of_best(fitted.history, [0, 1], "score")
    sound = 2 - seed  # the place of the one that stays finite
    assert round(epoch_of(fitted.kept["best"][sound], sound + 1)) == said
    if at == 0:  # it never counted
        assert said == epoch_of_best(fitted.history, [sound], "score")


def test_models_are_made_only_where_they_are_wanted(group, watch, monkeypatch):
    made, models = [], CountingPopulation.models
    monkeypatch.setattr(
        CountingPopulation,
        "models",
        lambda self, places: made.append((self.epochs[0] - 1, *places)) or models(self, places),
    )
    fitted = group(evaluate=None, selections={"third": chosen_epoch([2, 0])})
    watch(fitted).fit()
    assert made == [(0, 1), (2, 0)]
    assert [set(m) for m in fitted.history[0]] == [{"loss"}, {"loss"}]


@pytest.mark.parametrize("epoch", range(EPOCHS))
@pytest.mark.parametrize("place", ["evaluate", "on_epoch"])
def test_a_fit_that_was_cut_off_goes_on_with_the_same_numbers(group, watch, place, epoch):
    whole = group()
    watch(whole, checkpoint=None).fit()

    def cut_evaluation(m, model):
        if m == 1 and round(epoch_of(model, m + 1)) == epoch:
            raise Cut
        return score(m, model)

    def cut_report(at, metrics):
        if at == epoch:
            raise Cut

    cut = watch(group(evaluate=cut_evaluation)) if place == "evaluate" else watch(group(), on_epoch=cut_report)
    with pytest.raises(Cut):
        cut.fit()
    resumed = group()
    fitting = watch(resumed)
    fitting.fit()
    again = range(epoch + (place == "on_epoch"), EPOCHS)
    assert fitting.method.epochs_run == [{1: at, 2: at} for at in again]
    assert outcome(resumed) == outcome(whole)


def test_a_finished_fit_is_only_read(group, watch):
    first, again = group(), group()
    watch(first).fit()
    fitting = watch(again)
    fitting.fit()
    assert fitting.method.epochs_run == []
    assert outcome(again) == outcome(first)


def test_checkpoints_keep_their_distance_but_the_last_epoch_is_written(group, watch, tmp_path):
    written = []
    report = lambda *_: written.append(any(tmp_path.glob("*.safetensors")))  # noqa: E731
    watch(group(), checkpoint_seconds=3600, on_epoch=report).fit()
    assert written == [False] * (EPOCHS - 1) + [True]


def test_only_the_first_worker_writes(group, watch, tmp_path):
    watch(group(), workers=Workers(CPU, rank=1, world_size=2)).fit()
    assert not list(tmp_path.iterdir())


# Training groups


SEEDS = {"a": (1, 2), "b": (3,), "c": (4, 5), "d": (6,)}
LAST = {"a": 5, "b": 4, "c": 3, "d": 2}


@pytest.fixture
def named(problem):
    """A function of keys to groups, each with members and an end of its own."""

    def named(*keys):
        return [
            TrainingGroup(
                key,
                [Member(problem.task, MethodConfig(), seed) for seed in SEEDS[key]],
                LAST[key],
                lambda m, model, key=key: {"score": -abs(epoch_of(model, SEEDS[key][m]) - m - 1)},
                {"best": best_epoch([list(range(len(SEEDS[key])))], "score")},
            )
            for key in keys
        ]

    return named


@pytest.fixture
def alone(named):
    """A group's outcome where no other trains beside it."""

    def alone(key, **options):
        (group,) = named(key)
        Fitting(Counting(**options), [group], Workers(CPU)).fit()
        return outcome(group)

    return alone


def test_groups_of_one_population_end_at_their_own_epochs(named, alone, watch):
    groups = named("a", "b", "c")
    fitting = watch(*groups)
    fitting.fit()
    assert [len(group.history) for group in groups] == [6, 5, 4]
    assert fitting.method.epochs_run[3:] == [{1: 3, 2: 3, 3: 3, 4: 3, 5: 3}, {1: 4, 2: 4, 3: 4}, {1: 5, 2: 5}]
    for group in groups:
        assert outcome(group) == alone(group.key)


def test_all_that_train_are_reported(named, watch):
    reports = []
    watch(*named("a", "d"), on_epoch=lambda *said: reports.append(said)).fit()
    assert [epoch for epoch, _ in reports] == list(range(6))
    assert [[m["loss"] for m in metrics] for _, metrics in reports[:2]] == [[1 / 3, 2 / 3, 2], [3, 6, 18]]
    assert [len(metrics) for _, metrics in reports] == [3, 3, 3, 2, 2, 2]


def test_a_group_that_leaves_is_gone_and_the_others_go_on(named, alone, watch):
    a, b, c = named("a", "b", "c")

    def following(groups):
        return [group for group in until_they_end(groups) if group is not a or len(a.history) < 2]

    fitting = watch(a, b, c, following=following)
    fitting.fit()
    assert [len(group.history) for group in (a, b, c)] == [2, 5, 4]
    assert [set(epoch) for epoch in fitting.method.epochs_run] == [{1, 2, 3, 4, 5}] * 2 + [{3, 4, 5}] * 2 + [{3}]
    assert a.history == alone("a")[0][:2]
    for group in (b, c):
        assert outcome(group) == alone(group.key)


def test_a_group_that_joins_gets_what_it_would_get_alone(named, alone, watch):
    a, b, c, d = named("a", "b", "c", "d")
    joining = {1: [c], 4: [d]}  # d into what b and c have left

    def following(groups):
        return [*until_they_end(groups), *joining.get(len(a.history), ())]

    fitting = watch(a, b, following=following)
    fitting.fit()
    assert fitting.method.epochs_run == [
        {1: 0, 2: 0, 3: 0},
        {1: 1, 2: 1, 3: 1, 4: 0, 5: 0},
        {1: 2, 2: 2, 3: 2, 4: 1, 5: 1},
        {1: 3, 2: 3, 3: 3, 4: 2, 5: 2},
        {1: 4, 2: 4, 3: 4, 4: 3, 5: 3, 6: 0},
        {1: 5, 2: 5, 6: 1},
        {6: 2},
    ]
    for group in (a, b, c, d):
        assert outcome(group) == alone(group.key)


def test_a_group_takes_the_place_of_one_that_leaves(named, alone, watch):
    a, b, c = named("a", "b", "c")
    fitting = watch(a, b, following=lambda groups: [c] if a in groups else until_they_end(groups))
    fitting.fit()
    assert [len(group.history) for group in (a, b)] == [1, 1]
    assert outcome(c) == alone("c")


def test_a_fit_may_go_on_with_none_of_those_it_began_with(named, watch):
    a, b = named("a", "b")
    fitting = watch(a, b, following=lambda groups: [])
    fitting.fit()
    assert len(fitting.method.epochs_run) == 1


@pytest.mark.parametrize("every", [1, 2, 3, 9])  # epochs between two checkpoints
@pytest.mark.parametrize("epoch", range(6))
def test_groups_at_different_epochs_go_on_after_a_kill_with_the_same_numbers(
    named, alone, watch, monkeypatch, epoch, every
):
    """`a` and `b` begin; `c` joins after an epoch, `d` after three; `b` is let go after four."""
    joining, running, ended, reports = {1: "c", 3: "d"}, {"a", "b"}, {}, []

    def following(groups):
        going_on = [c for c in until_they_end(groups) if (c.key, len(c.history)) != ("b", 4)]
        for group in groups:
            group.settled = group not in going_on
        ended.update({c.key: outcome(c) for c in groups if c.settled})
        lengths = {c.key: len(c.history) for c in groups}
        if (key := joining.pop(lengths.get("a"), None)) is not None:
            going_on += named(key)
        running.clear()
        running.update(c.key for c in going_on)
        return going_on

    def cut(*_):
        reports.append(1)
        if len(reports) == epoch + 1:
            raise Cut

    def write(*written):
        if len(reports) % every == 0:
            write_checkpoint(*written)

    monkeypatch.setattr(fitting_module, "write_checkpoint", write)
    with pytest.raises(Cut):
        watch(*named("a", "b"), following=following, on_epoch=cut).fit()
    watch(*named(*sorted(running)), following=following).fit()
    assert ended["b"][0] == alone("b")[0][:4]
    assert [ended[key] for key in "acd"] == [alone(key) for key in "acd"]


def test_a_checkpoint_holds_each_group_at_its_own_epoch(named, watch, tmp_path):
    a, b, c = named("a", "b", "c")
    written = []

    def following(groups):
        return [*until_they_end(groups), *([c] if len(a.history) == 2 and c not in groups else [])]

    def report(*_):
        tensors, record = read_checkpoint(tmp_path / "fit.safetensors")
        lengths = {key: len(group["history"]) for key, group in record.items()}
        numbers = {key: group["number"] for key, group in record.items()}
        states = {k: {n for n in tensors if n.startswith(f"{i}.state.")} for k, i in numbers.items()}
        assert {k for k, names in states.items() if names} == {k for k, n in lengths.items() if 0 < n <= LAST[k]}
        written.append(lengths)

    watch(a, b, following=following, on_epoch=report).fit()
    assert written == [
        {"a": 1, "b": 1},
        {"a": 2, "b": 2, "c": 0},
        {"a": 3, "b": 3, "c": 1},
        {"a": 4, "b": 4, "c": 2},
        {"a": 5, "b": 5, "c": 3},  # b has ended and waits
        {"a": 6, "b": 5},
    ]


def test_a_settled_group_is_not_written(named, watch, tmp_path):
    a, b, d = named("a", "b", "d")
    written = []

    def following(groups):
        going_on = [group for group in until_they_end(groups) if group is not a or len(a.history) < 2]
        a.settled = a not in going_on
        d.settled = d.ended
        return going_on

    def report(*_):
        written.append(set(read_checkpoint(tmp_path / "fit.safetensors")[1]))

    watch(a, b, d, following=following, on_epoch=report).fit()
    assert written == [{"a", "b", "d"}, {"b", "d"}, {"b"}, {"b"}, {"b"}]


def test_a_group_that_has_ended_waits_in_the_checkpoint(named, alone, watch):
    reports = []

    def cut(*_):
        reports.append(1)
        if len(reports) == 4:  # d has ended, a has not
            raise Cut

    with pytest.raises(Cut):
        watch(*named("a", "d"), on_epoch=cut).fit()
    a, d = named("a", "d")
    resumed = watch(a, d)
    resumed.fit()
    assert resumed.method.epochs_run == [{1: 4, 2: 4}, {1: 5, 2: 5}]
    assert (outcome(a), outcome(d)) == (alone("a"), alone("d"))


def test_only_some_of_the_written_groups_may_be_asked_for(named, alone, watch):
    def cut(at, _):
        if at == 2:
            raise Cut

    with pytest.raises(Cut):
        watch(*named("a", "b", "c"), on_epoch=cut).fit()
    (b,) = named("b")
    resumed = watch(b)
    resumed.fit()
    assert resumed.method.epochs_run == [{3: 3}, {3: 4}]
    assert outcome(b) == alone("b")


@pytest.mark.parametrize("epoch", range(5))
def test_a_group_without_a_finite_member_ends_early_and_the_others_go_on(named, alone, watch, epoch):
    a, b, c = named("a", "b", "c")
    fitting = watch(a, b, c, method=Counting({3: epoch}))
    fitting.fit()
    assert [len(group.history) for group in (a, b, c)] == [6, epoch + 1, 4]
    assert b.ended
    assert not is_finite(b.history[-1], 0)
    assert outcome(b) == alone("b", diverging={3: epoch})
    for group in (a, c):
        assert outcome(group) == alone(group.key)


def test_a_group_goes_on_while_one_of_its_members_is_finite(named, watch):
    a, b = named("a", "b")
    watch(a, b, method=Counting({2: 1})).fit()
    assert len(a.history) == 6
    assert [is_finite(epoch, 1) for epoch in a.history] == [True] + [False] * 5
    assert all(is_finite(epoch, 0) for epoch in a.history)


def test_a_group_that_diverged_is_not_trained_again(named, watch):
    def cut(at, _):
        if at == 2:
            raise Cut

    with pytest.raises(Cut):
        watch(*named("a", "b"), method=Counting({3: 1}), on_epoch=cut).fit()
    a, b = named("a", "b")
    resumed = watch(a, b, method=Counting({3: 1}))
    resumed.fit()
    assert resumed.method.epochs_run == [{1: epoch, 2: epoch} for epoch in (3, 4, 5)]
    assert len(b.history) == 2


def test_writing_takes_a_small_share_of_the_time(named, watch, monkeypatch):
    now, written = [0.0], []
    watched = watch(*named("a"), checkpoint_seconds=1, on_epoch=lambda *_: now.__setitem__(0, now[0] + 30))
    monkeypatch.setattr(fitting_module, "_WRITING_SHARE", 0.05)
    monkeypatch.setattr(fitting_module.time, "monotonic", lambda: now[0])

    def write(path, tensors, record):
        written.append(now[0])
        now[0] += 3  # a slow disk: 60 seconds of training are worth a checkpoint

    monkeypatch.setattr(fitting_module, "write_checkpoint", write)
    watched.fit()
    assert written == [30, 93, 156]


def test_workers_are_refused_where_a_method_takes_no_share_or_a_batch_has_none(group, watch):
    two, lonely = Workers(CPU, 0, 2), Counting()
    lonely.data_parallel = "none"
    with pytest.raises(InputError, match="--workers 2: this method cannot train data-parallel"):
        watch(group(), method=lonely, workers=two).fit()
    odd = group()
    odd.members = [Member(member.task, MethodConfig(batch_size=5), member.seed) for member in odd.members]
    with pytest.raises(InputError, match="batch_size=5: must be a multiple of the 2 workers"):
        watch(odd, workers=two).fit()
