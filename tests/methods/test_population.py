"""What populations promise beyond every method's promises (`tests/learning/test_conformance.py`)."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
import torch
from training_loop import Meeting, fitted_until

from methods.sadvae import method
from platform.learning.training_data import TrainingData
from platform.method import Member, load_method
from platform.training import fitting
from platform.training.evaluation import zero_shot_metrics
from platform.training.fitting import best_epoch, chosen_epoch
from platform.workers import Workers

CPU = torch.device("cpu")
SMALL = {"z_r": 8, "z_v": 4, "learning_rate": 2e-3, "n_d": 3, "classifier_samples": 20, "classifier_steps": 30}
OTHERS = (  # wider and narrower ones, with other schedules
    {"z_r": 12, "z_v": 2, "n_d": 2, "learning_rate": 5e-3, "lambda_2": 0.5},
    {"z_r": 3, "z_v": 7, "alignment": "fd", "beta_x": 0.3},
    {"alignment": "naive", "z_r": 20, "noise": "sample"},
)


# widths of whole cache lines, and batches of whole vectors: so each member is given to the libraries alike
AS_WIDE = {
    "sadvae": {"z_r": 32, "z_v": 32, "n_d": 2},
    "synse": {"z_s": 32, "cycle": 12, "beta_start": 4, "beta_y_start": 4, "alpha_start": 6},
    "cadavae": {
        "z": 16,
        "hidden": False,
        "cross_start": 0.0,
        "cross_end": 0.02,
        "distance_start": 0.0,
        "distance_end": 0.02,
    },
    "revise": {"code": 16, "shared": 16, "hidden": 32},
    "jpose": {"width": 16, "joint": 16, "hidden": 32},
    "smie": {"hidden_1": 32, "hidden_2": 16},
    "claster": {"hidden": 16, "channels": 2, "iterations": 5, "clusters": 4, "projection_steps": 50},
}


@dataclass
class Until:
    """A run of some epochs: each one's losses and states, and the models after the last."""

    epochs: int
    asked: Sequence[int] | None = None  # whose states and models; everyone's by default
    device: torch.device = CPU
    rank: int = 0
    world_size: int = 1
    losses: list = field(default_factory=list)
    states: list = field(default_factory=list)
    models: list = field(default_factory=list)

    def epoch_end(self, losses, models, states):
        asked = self.asked or range(len(losses))
        self.losses.append(losses)
        self.states.append(states(asked))
        if len(self.losses) < self.epochs:
            return True
        self.models = models(asked)
        return False

    def average(self, gradients):
        return gradients


def trained(members, epochs, **options):
    run = Until(epochs, **options)
    fitted_until(method, members, run)
    return run


@pytest.fixture(params=[None, "released"], ids=["paper", "released"])
def member(request, make_problem):
    """A function of a seed and fields, to a member; every second one on a shorter task with fewer unseen classes."""
    long, short = make_problem(30, 0).task, make_problem(17, 1).task
    short = replace(short, unseen=short.unseen[:2], semantics=short.semantics[:-1])

    def member(seed, **fields):
        return Member((long, short)[seed % 2], method.configure({**SMALL, **fields}, request.param), seed)

    return member


@pytest.fixture
def others(member):
    return [member(20 + i, **fields) for i, fields in enumerate(OTHERS)]


def assert_states_agree(state, other, exact=False):
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-3, "atol": 2e-5}
    assert state.keys() == other.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, other[name], **tolerance, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}")


def assert_losses_agree(losses, expected):
    for epoch, other in zip(losses, expected, strict=True):
        assert epoch == pytest.approx(other, rel=1e-3, abs=1e-5, nan_ok=True)


def test_models_and_states_are_those_of_the_members_asked_for(member, others, problem):
    members, x = [member(3), *others], problem.test.features
    whole, some = trained(members, 1), trained(members, 1, asked=(3, 1))
    for place, m in enumerate((3, 1)):
        model, expected = some.models[place], whole.models[m]
        assert (model.seed, model.config) == (members[m].seed, members[m].config)
        assert torch.equal(model.unseen_scores(x), expected.unseen_scores(x))
        assert_states_agree(some.states[-1][place], whole.states[-1][m], exact=True)


def test_a_frozen_member_stays_as_it_is_wherever_it_goes(member, others):
    wild = member(3, learning_rate=1e30)
    frozen = trained([others[0], wild], 2).states[-1][1]
    assert not frozen["alive"]
    assert not frozen["parameter.encoder_x"].isfinite().all()
    beside = trained([others[0], replace(wild, state=frozen), *others[1:]], 2)
    assert int(beside.states[-1][1].pop("epoch")) == int(frozen.pop("epoch")) + 2
    assert_states_agree(beside.states[-1][1], frozen, exact=True)
    assert all(state["alive"] for place, state in enumerate(beside.states[-1]) if place != 1)


class Cut(Exception):
    """A kill."""


@pytest.mark.parametrize("averages", [1, 9, 25, 40])
def test_a_fit_cut_off_inside_an_epoch_ends_with_the_same_numbers(
    member, others, fit, problem, tmp_path, monkeypatch, averages
):
    members, samples, epochs = [member(3), *others], problem.test, 4
    monkeypatch.setattr(fitting, "_WRITING_SHARE", math.inf)  # else few of such short epochs are written

    def evaluate(m, model):
        return zero_shot_metrics(model, samples.where(samples.labels < len(model.seen) + len(model.unseen)))

    def fitted(checkpoint=None):
        selections = {"best": best_epoch([[m] for m in range(4)], "zsl"), "last": chosen_epoch([epochs - 1] * 4)}
        given = {"evaluate": evaluate, "selections": selections, "checkpoint": checkpoint, "checkpoint_seconds": 0}
        group = fit(method, members, epochs, **given)
        return group.history, [
            model.state()[0] for models in group.kept.values() for _, model in sorted(models.items())
        ]

    left = iter(range(averages))

    def cut(_, gradients):
        if next(left, None) is None:
            raise Cut
        return gradients

    with monkeypatch.context() as patch:
        patch.setattr(Workers, "average", cut)
        with pytest.raises(Cut):
            fitted(tmp_path / "fit.safetensors")
    (history, tensors), (expected, as_whole) = fitted(tmp_path / "fit.safetensors"), fitted()
    assert history == expected
    for own, whole in zip(tensors, as_whole, strict=True):
        assert_states_agree(own, whole, exact=True)


def trained_by_workers(members, epochs, count):
    """Each worker's run; workers are threads here."""
    meeting = Meeting(count)

    class Worker(Until):
        def average(self, gradients):
            return meeting.average(self.rank, gradients)

    def work(rank):
        run = Worker(epochs, rank=rank, world_size=count)
        fitted_until(method, members, run)
        return run

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def test_workers_that_share_each_batch_train_what_one_would_where_no_pairs_are_made(member):
    members = [member(3, alignment="fd"), member(4, alignment="naive", z_r=5), member(6, z_v=2, alignment="fd")]
    alone, runs = trained(members, 3), trained_by_workers(members, 3, 4)
    for run in runs:
        for losses, expected in zip(run.losses, alone.losses, strict=True):
            assert_losses_agree(losses, expected)
        for m, state in enumerate(run.states[-1]):
            assert_states_agree(state, alone.states[-1][m])
            assert_states_agree(state, runs[0].states[-1][m], exact=True)


def test_samples_of_one_task_are_not_copied(member):
    own = member(0)
    masked = replace(own, task=replace(own.task, masked=own.task.features + 1))
    data = TrainingData([masked, replace(masked, seed=2)], CPU)
    for name in ("features", "semantics", "masked"):
        assert getattr(data, name).data_ptr() == getattr(masked.task, name).data_ptr(), name
    rows = torch.tensor([[0, 5], [7, 0]])
    x, y = data.features_of(rows), data.text_of(rows)
    assert torch.equal(x[1, 0], own.task.features[7])
    assert torch.equal(y[0, 1], own.task.semantics[own.task.labels[5]])


def test_samples_of_several_tasks_follow_one_another(member):
    members = [member(0), member(1)]
    data = TrainingData(members, CPU)
    assert torch.equal(data.features, torch.cat([m.task.features for m in members]))
    assert data.first_rows == [0, len(members[0].task.labels)]


@pytest.mark.parametrize("name", AS_WIDE)
def test_beside_members_as_wide_it_computes_the_same_bits_as_alone(make_problem, name):
    """On a CPU, and with one thread: a library may split a sum among more of them."""
    method, task, threads = load_method(f"methods.{name}"), make_problem(30).task, torch.get_num_threads()
    rates = (1e-3, 5e-3, 2e-4, 3e-3)
    members = [
        Member(task, method.configure({"batch_size": 32, "learning_rate": rate, **AS_WIDE[name]}), 10 + seed)
        for seed, rate in enumerate(rates)
    ]

    def fitted(several):
        run = Until(2)
        fitted_until(method, several, run)
        return run

    torch.set_num_threads(1)
    try:
        alone = fitted(members[:1])
        runs = [fitted(members[:2]), fitted([*members[1:], members[0]])]
    finally:
        torch.set_num_threads(threads)
    x = task.features
    for run, place in zip(runs, (0, 3), strict=True):
        for epoch, states in enumerate(run.states):
            before = alone.states[epoch][0]
            assert all(torch.equal(tensor, before[key]) for key, tensor in states[place].items())
            assert run.losses[epoch][place] == pytest.approx(alone.losses[epoch][0], rel=1e-6)
        assert torch.equal(run.models[place].unseen_scores(x), alone.models[0].unseen_scores(x))
