from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from made_erpcnet import ALONE, SMALL, config, fitted, make_task, network
from training_loop import Meeting, OneEpoch, fitted_until

from methods import erpcnet
from methods.erpcnet import ERPCNetConfig, training
from methods.erpcnet.pictures import centred, in_batches, normalised
from methods.erpcnet.training import LocalityLearner
from platform.method import Member
from platform.zeroshot.task import pictures_of


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_state_goes_on_as_if_nothing_had_happened(done):
    task, _ = make_task()
    own = config(epochs=4, policy_epochs=2, dropout=0.3)
    _, (whole,) = fitted([Member(task, own, 0)], 4)
    run, _ = fitted([Member(task, own, 0)], done)
    _, (resumed,) = fitted([Member(task, own, 0, run.states([0])[0])], 4 - done)
    for name, tensor in (whole.weights | whole.policy).items():
        assert torch.equal((resumed.weights | resumed.policy)[name], tensor), name


def test_members_train_one_after_the_other_as_they_would_alone():
    task, _ = make_task()
    members = [Member(task, config(sampler="random"), 0), Member(task, config(sampler="none", steps=2), 1)]
    run, together = fitted(members)
    assert len(run.losses) == 1
    for member, model in zip(members, together, strict=True):
        _, (alone,) = fitted([member])
        assert all(torch.equal(alone.weights[name], tensor) for name, tensor in model.weights.items())


def test_data_parallel_workers_share_batches_and_stay_together(monkeypatch):
    task, _ = make_task()
    own = config(backbone="resnet18", frozen_blocks=4, kernel=1, steps=2, epochs=2)
    # workers are threads here, with one generator of torch's between them: both are given the same start
    member = Member(task, own, 0, erpcnet.method.learner(Member(task, own, 0), ALONE).state())
    meeting = Meeting(2)

    taken = []

    def noted(features, rows):
        taken.append(list(rows))
        return in_batches(features, rows)

    monkeypatch.setattr(training, "in_batches", noted)

    class Worker(OneEpoch):
        world_size = 2

        def average(self, gradients):
            return meeting.average(self.rank, gradients)

    def work(rank):
        run = Worker(2)
        run.rank = rank
        fitted_until(erpcnet.method, [member], run)
        return run.losses, run.states([0])[0]

    with ThreadPoolExecutor(2) as pool:
        (losses, state), (other_losses, other) = pool.map(work, range(2))
    assert losses == other_losses
    assert any(name.startswith("policy.") for name in state)
    for name, tensor in state.items():
        assert torch.equal(tensor, other[name]), name
    assert [len(rows) for rows in taken[0]] == [len(rows) for rows in taken[1]] == [4, 4]
    assert torch.cat(taken[0] + taken[1]).sort().values.tolist() == list(range(16))


def test_a_model_is_not_changed_by_the_epochs_after_it():
    task, x = make_task()
    learner = LocalityLearner(Member(task, config(sampler="random"), 0), ALONE)
    learner.train_epoch()
    model = learner.model()
    before = model.unseen_scores(x)
    learner.train_epoch()
    assert torch.equal(replace(model).unseen_scores(x), before)
    assert not torch.equal(learner.model().unseen_scores(x), before)


@pytest.mark.slow
def test_it_recognises_the_colours_that_it_was_shown():
    task, _ = make_task(samples=64)
    own = config(sampler="random", epochs=20, learning_rate=1e-3)
    run, (model,) = fitted([Member(task, own, 0)], 20)
    assert run.losses[-1][0]["global"] < run.losses[0][0]["global"] / 2
    assert (model.seen_scores(task.features).argmax(dim=1) == task.labels).double().mean() > 0.9


def test_the_small_preset_trains_a_squeezenet_whose_embeddings_are_as_long_as_imagenets(tmp_path):
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    state = squeezenet1_1(weights=None).state_dict()
    task, _ = make_task(samples=32)
    with torch.no_grad():
        torch.save(state, tmp_path / "weights.pt")
        net = network(weights=str(tmp_path / "weights.pt")).eval()
        pictures = centred(pictures_of(task.features, slice(None)), SMALL["side"])
        long = net.embedded(normalised(pictures))[1].norm(dim=1).mean()
        state["features.0.weight"] *= 470 / long  # biases start at 0, so that what follows is as many times larger
    torch.save(state, tmp_path / "weights.pt")
    preset = {
        name: value for name, value in SMALL.items() if name in ("side", "kernel", "stride", "steps", "batch_size")
    }
    own = erpcnet.method.configure({**preset, "weights": str(tmp_path / "weights.pt"), "sampler": "random"}, "small")
    run, _ = fitted([Member(task, own, 0)], 6)
    first, last = (sum(losses[name] for name in ("global", "local", "joint")) for (losses,) in run.losses[::5])
    assert last < 0.7 * first  # not finite in the fourth epoch where gradients are left as they are


def test_the_learning_rate_falls_and_fresh_layers_have_their_own():
    task, _ = make_task()
    own = config(sampler="random", decay_epochs=1, fresh_rate=3.0, frozen_blocks=4)
    learner = erpcnet.method.learner(Member(task, own, 0), ALONE)
    rates = []
    for _ in range(2):
        learner.train_epoch()
        rates.append([group["lr"] for group in learner.optimiser.param_groups])
    assert rates == [pytest.approx([3e-2, 1e-2]), pytest.approx([3e-3, 1e-3])]
    trained = {id(p) for group in learner.optimiser.param_groups for p in group["params"]}
    assert trained == {id(p) for name, p in learner.network.named_parameters() if not name.startswith("before.")}


def test_gradients_are_cut_where_that_is_asked_and_a_squeezenets_at_5():
    assert ERPCNetConfig().gradient_cut == 0  # the paper's
    assert ERPCNetConfig(backbone="squeezenet1_0").gradient_cut == 5
    task, _ = make_task()
    start, steps = dict(network(sampler="random").named_parameters()), {}
    for largest in (0.0, 0.1):
        own = config(sampler="random", momentum=0.0, weight_decay=0.0, batch_size=16, largest_gradient=largest)
        learner = erpcnet.method.learner(Member(task, own, 0), ALONE)
        learner.train_epoch()
        moved = [(p - start[name]).norm() for name, p in learner.network.named_parameters()]
        steps[largest] = torch.stack(moved).norm().item() / own.learning_rate
    assert steps[0.1] == pytest.approx(0.1, rel=0.01)
    assert steps[0.0] > 1
