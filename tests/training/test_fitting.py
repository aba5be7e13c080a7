from dataclasses import dataclass

import pytest
import torch

from platform.method import Member, Method, MethodConfig, Model
from platform.training.fitting import Fitting, best_epoch, chosen_epoch, epoch_of_best

EPOCHS = 5
SCORES = {0: [1, 3, 2, 3, 0], 1: [2, 0, 5, 1, 4]}  # of each member at each epoch


@dataclass(frozen=True)
class Counted(Model):
    """Holds how far its member had come."""

    position: torch.Tensor

    def unseen_scores(self, x):
        return self.position

    def seen_scores(self, x, logits=None):
        return self.position

    def with_classes(self, names, semantics):
        return self

    def state(self):
        return {"position": self.position}, {"digits": 1}

    @classmethod
    def from_state(cls, tensors, values):
        return cls(values["seen"], values["unseen"], values["combination"], tensors["position"])


class Counting(Method):
    """Its state is a sum of cubes, so that a repeated or a left-out epoch shows."""

    Config, Model, citation = MethodConfig, Counted, ""

    def __init__(self):
        self.epochs_run = []

    def fit_population(self, members, run):
        state = run.resume() or {"sum": torch.zeros(len(members)), "epoch": torch.tensor(0)}
        total = state["sum"]
        for epoch in range(int(state["epoch"]), 100):
            self.epochs_run.append(epoch)
            total = total + torch.tensor([float(m.seed) for m in members]) * (epoch + 1) ** 3
            losses = [{"loss": value / 3} for value in total.tolist()]
            models = [Counted(m.task.seen, m.task.unseen, None, t) for m, t in zip(members, total, strict=True)]
            new = {"sum": total, "epoch": torch.tensor(epoch + 1)}
            if not run.epoch_end(epoch, losses, lambda models=models: models, lambda new=new: new):
                break


class Cut(Exception):
    """A kill."""


@pytest.fixture
def watch(problem, tmp_path):
    """A function to a Fitting that writes every epoch down."""
    members = [Member(problem.task, MethodConfig(), seed) for seed in (1, 2)]

    def watch(**changes):
        options = {
            "evaluate": lambda m, model: {"score": SCORES[m][round(epoch_of(model, m))]},
            "keepers": {"best": best_epoch([[0], [1]], "score"), "third": chosen_epoch([2, 0])},
            "last_epoch": EPOCHS - 1,
            "checkpoint": tmp_path / "fit.safetensors",
            "checkpoint_seconds": 0,
        }
        return Fitting(Counting(), members, torch.device("cpu"), **{**options, **changes})

    return watch


def epoch_of(model, member):
    """Sums of cubes are squares of triangle numbers."""
    triangle = (model.position.item() / (member + 1)) ** 0.5
    return (-1 + (1 + 8 * triangle) ** 0.5) / 2 - 1


def outcome(fitting):
    kept = {(k, m): model.position.item() for k, models in fitting.kept.items() for m, model in models.items()}
    return fitting.history, kept


def test_a_fit_ends_after_its_last_epoch(watch):
    fitting = watch(last_epoch=2)
    fitting.fit()
    assert fitting.method.epochs_run == [0, 1, 2]
    assert [[m["score"] for m in epoch] for epoch in fitting.history] == [[1, 2], [3, 0], [2, 5]]
    assert fitting.history[1][0]["loss"] == 3


def test_the_wanted_models_are_kept(watch):
    fitting = watch()
    fitting.fit()
    epochs = {k: [round(epoch_of(models[m], m)) for m in (0, 1)] for k, models in fitting.kept.items()}
    assert epochs == {"best": [1, 2], "third": [2, 0]}  # the first of equally good epochs


def test_a_group_is_kept_at_its_best_mean(watch):
    fitting = watch(keepers={"best": best_epoch([[0, 1]], "score")})
    fitting.fit()
    assert [round(epoch_of(fitting.kept["best"][m], m)) for m in (0, 1)] == [2, 2]
    assert epoch_of_best(fitting.history, [0, 1], "score") == 2


def test_models_are_made_only_where_they_are_wanted(watch, monkeypatch):
    made = []
    ended = Fitting.epoch_end

    def epoch_end(self, epoch, losses, models, state):
        return ended(self, epoch, losses, lambda: made.append(epoch) or models(), state)

    monkeypatch.setattr(Fitting, "epoch_end", epoch_end)
    fitting = watch(evaluate=None, keepers={"third": chosen_epoch([2, 0])})
    fitting.fit()
    assert made == [0, 2]
    assert [set(m) for m in fitting.history[0]] == [{"loss"}, {"loss"}]


@pytest.mark.parametrize("epoch", range(EPOCHS))
@pytest.mark.parametrize("place", ["evaluate", "on_epoch"])
def test_a_fit_that_was_cut_off_goes_on_with_the_same_numbers(watch, tmp_path, place, epoch):
    whole = watch(checkpoint=None)
    whole.fit()

    def cut_evaluation(m, model):
        if m == 1 and round(epoch_of(model, m)) == epoch:
            raise Cut
        return {"score": SCORES[m][round(epoch_of(model, m))]}

    def cut_report(at, metrics):
        if at == epoch:
            raise Cut

    cut = watch(evaluate=cut_evaluation) if place == "evaluate" else watch(on_epoch=cut_report)
    with pytest.raises(Cut):
        cut.fit()
    resumed = watch()
    resumed.fit()
    assert resumed.method.epochs_run == list(range(epoch + (place == "on_epoch"), EPOCHS))
    assert outcome(resumed) == outcome(whole)


def test_a_finished_fit_is_only_read(watch):
    first, again = watch(), watch()
    first.fit()
    again.fit()
    assert again.method.epochs_run == []
    assert outcome(again) == outcome(first)


def test_checkpoints_keep_their_distance_but_the_last_epoch_is_written(watch, tmp_path):
    written = []
    fitting = watch(checkpoint_seconds=3600, on_epoch=lambda *_: written.append(any(tmp_path.glob("*.safetensors"))))
    fitting.fit()
    assert written == [False] * (EPOCHS - 1) + [True]


def test_only_the_first_worker_writes(watch, tmp_path):
    watch(rank=1, world_size=2).fit()
    assert not list(tmp_path.iterdir())


def test_one_worker_averages_nothing(watch):
    gradients = [torch.ones(2), torch.zeros(3)]
    assert watch().average(gradients) is gradients
