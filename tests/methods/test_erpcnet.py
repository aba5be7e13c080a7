import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
import torch
from torch.nn.functional import conv2d, log_softmax
from training_loop import OneEpoch, fitted_until

from methods import erpcnet
from methods.environments.localities import LocalitiesVectorEnv
from methods.erpcnet import ERPCNetConfig
from methods.locality_network import augmented, centred, fresh_network, normalised, squares
from methods.locality_policy import first_weights
from methods.locality_training import LocalityLearner
from methods.locality_walks import Walk, in_turn, walked
from platform.errors import InputError
from platform.method import Member
from platform.population.draws import generator
from platform.workers import Workers
from platform.zeroshot.gate import Stacking
from platform.zeroshot.task import Task

SEEN, UNSEEN, TEXT, STORED = 4, 2, 5, 72
SMALL = {
    "backbone": "squeezenet1_1",
    "weights": "none",
    "frozen_blocks": 0,
    "side": 64,  # maps of 3 × 3, and so 2 × 2 cells
    "smallest_crop": 0.5,
    "kernel": 2,
    "stride": 1,
    "steps": 3,
    "sigma": 0.8,
    "joint_hidden": 6,
    "dropout": 0.0,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "epochs": 3,
    "policy_epochs": 1,
    "policy_iterations": 1,
}
ALONE = Workers(torch.device("cpu"))
VARIANTS = {
    "ERPCNet": {},
    "RPCNet": {"entropy": False},
    "PCNet": {"sampler": "random"},
    "GlobalNet": {"sampler": "none"},
    "HardNet": {"crops": "image"},
}


@pytest.fixture(autouse=True)
def _quick_policy(request, monkeypatch):
    """A policy that only drifts, by the seed, in place of RLlib's PPO, but in the slow tests."""

    def drifted(weights, localities, options, seed):
        count, cells, width = localities.embeddings.shape
        assert localities.joint(torch.zeros(count, (options.steps + 1) * width)).shape == (count, SEEN)
        assert localities.ratios.shape == (count, cells)
        draw = generator(seed)
        fared = {"policy_return": 1.0, "random_return": 0.5, "policy_steps": 2.0, "random_steps": 3.0}
        learned = {name: t + 0.1 * torch.randn(t.shape, generator=draw) for name, t in weights.items()}
        return dict(reversed(learned.items())), fared  # in another order, as RLlib's is

    if "slow" not in request.keywords:
        monkeypatch.setattr("methods.environments.locality_ppo.improved", drifted)


def config(**values):
    return ERPCNetConfig(**SMALL | values)


def make_task(seed=0, samples=16):
    """Squares of a class's colour somewhere on a grey picture with noise; a class's semantics tell its colour."""
    draw = generator(seed, "task")
    colours = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=torch.float32)
    semantics = torch.nn.functional.normalize(torch.cat([colours, 1 - colours[:, :2]], dim=1))
    labels = torch.arange(samples) % SEEN
    names = [f"class {i}" for i in range(SEEN + UNSEEN)]

    def pictures(classes):
        x = 100 + 20 * torch.randn(len(classes), 3, STORED, STORED, generator=draw)
        for own, label in zip(x, classes, strict=True):
            top, left = torch.randint(STORED - 30, (2,), generator=draw).tolist()
            own[:, top : top + 30, left : left + 30] = 255 * colours[label][:, None, None]
        return x.clamp(0, 255).to(torch.uint8).flatten(1)

    task = Task(tuple(names[:SEEN]), tuple(names[SEEN:]), pictures(labels), labels, semantics)
    return task, pictures(torch.arange(6) % UNSEEN + SEEN)


def fitted(members, epochs=1):
    run = OneEpoch(epochs)
    fitted_until(erpcnet.method, members, run)
    return run, run.models(range(len(members)))


def network(**values):
    return fresh_network(config(**values), TEXT, seed=0)


def some_pictures(count=3):
    task, _ = make_task()
    return normalised(centred(task.features[:count], SMALL["side"])), task.labels[:count], task.semantics[:SEEN]


@pytest.mark.parametrize("every_prefix", [True, False])
def test_losses_are_those_of_the_equations(every_prefix):
    net = network(every_prefix=every_prefix)
    with torch.no_grad():  # not at its start, where the partial convolution is an average
        net.partial.weight.normal_(0, 0.01)
        net.partial.bias.normal_()
    pictures, labels, text = some_pictures()
    chosen = torch.tensor([[0, 3, 1], [2, 1, 0], [3, 2, 1]])
    terms, right = net.terms(pictures, labels, text, chosen)

    def cross_entropy(attributes, label):
        return -log_softmax(text @ attributes, dim=0)[label]

    expected, decided = torch.zeros(4), []
    for x, y, own in zip(pictures, labels, chosen, strict=True):
        maps = net.before(x[None])
        e_g = net.last(maps)[0].mean(dim=(1, 2))
        a_g = net.fc_g(e_g)
        localities = []
        for cell in own.tolist():
            row, column = divmod(cell, 2)
            region = maps[:, :, row : row + 2, column : column + 2]
            e_p = conv2d(region, net.partial.weight, net.partial.bias)
            localities.append(net.extractor(e_p)[0].mean(dim=(1, 2)))
        a_l = [net.fc_l(e) for e in localities]
        a_j = []
        for t in range(1, 4):
            sequence = torch.cat([e_g, *localities[:t], torch.zeros((3 - t) * len(e_g))])
            a_j.append(net.fc_j2(net.fc_j1(sequence)))
            torch.testing.assert_close(net.joint_attributes(net.fc_j1(sequence[None]))[0], a_j[-1])
        a_m = torch.stack([a_g, *a_l]).max(dim=0).values
        asked = a_j if every_prefix else a_j[-1:]
        expected[0] += cross_entropy(a_g, y)
        expected[1] += sum(cross_entropy(a, y) for a in a_l) / 3
        expected[2] += sum(cross_entropy(a, y) for a in asked) / len(asked)
        expected[3] += cross_entropy(a_m, y)
        decided.append((text @ (a_g + a_j[-1])).argmax() == y)
    torch.testing.assert_close(terms, expected / len(pictures), rtol=1e-4, atol=1e-5)
    assert right.tolist() == decided


def test_the_partial_convolution_starts_as_an_average_and_reads_one_cell():
    net = network(padding=1, steps=3)
    maps = net.embedded(some_pictures(2)[0])[0]
    assert net.grid == (4, 4)
    everywhere = net.partial(maps)  # the convolution at all cells
    torch.testing.assert_close(everywhere, torch.nn.functional.avg_pool2d(maps, 2, 1, padding=1))
    torch.nn.init.normal_(net.partial.weight)
    everywhere = net.partial(maps).flatten(2)
    net.extractor = torch.nn.Identity()
    own = net.local(net.cropped(maps, torch.tensor([5, 14])))
    torch.testing.assert_close(own, torch.stack([everywhere[0, :, 5], everywhere[1, :, 14]]), rtol=1e-4, atol=1e-4)
    net.width = own.shape[1]
    places, ratios = net.everywhere(maps)
    torch.testing.assert_close(places[1, 14], own[1], rtol=1e-4, atol=1e-4)
    looked, ratio = net.looked(maps, torch.tensor([5, 14]))
    torch.testing.assert_close(looked, own)
    torch.testing.assert_close(ratio, torch.stack([ratios[0, 5], ratios[1, 14]]))


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0", "squeezenet1_1"])
def test_the_local_extractor_starts_as_the_last_block_and_goes_its_own_way(name):
    net = network(backbone=name, kernel=1, steps=2)
    for own, last in zip(net.extractor.parameters(), net.last.parameters(), strict=True):
        assert torch.equal(own, last)
        assert own is not last
    x, labels, text = some_pictures()
    whole = net.eval().embedded(x)[1]
    assert whole.shape == (3, net.width) == (3, 512)
    net.train().terms(x, labels, text, torch.tensor([[0, 1]] * 3))[0].sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_frozen_blocks_keep_their_weights_and_statistics():
    net = network(backbone="resnet18", frozen_blocks=3, kernel=1, steps=2)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x, labels, text = some_pictures()
    net.train().terms(x, labels, text, torch.tensor([[0, 1]] * 3))[0].sum().backward()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    for name, tensor in net.state_dict().items():
        frozen = name.startswith(("before.0", "before.1", "before.2"))
        moves = not name.endswith("num_batches_tracked") and tensor.is_floating_point()
        assert torch.equal(tensor, before[name]) == frozen or not moves, name


def test_pictures_are_cut_and_flipped_by_named_draws():
    task, _ = make_task()
    pictures = squares(task.features, 64)
    assert torch.equal(centred(task.features, 64), pictures[:, :, 4:68, 4:68])
    torch.manual_seed(0)
    first = augmented(pictures, 64, 0.5)
    assert first.shape == (16, 3, 64, 64)
    assert first.dtype == torch.uint8
    torch.manual_seed(0)
    assert torch.equal(augmented(pictures, 64, 0.5), first)
    white = normalised(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))[0, :, 0, 0]
    torch.testing.assert_close(white, torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))


def made_walk():
    """Two walks of three steps, with one attribute a class."""
    joint = torch.tensor([[[0.0, 1.0], [3.0, 0.0], [9.0, 0.0]], [[0.0, 0.1], [0.1, 0.0], [0.0, 0.2]]])
    return Walk(
        cells=torch.tensor([[0, 1, 2], [2, 1, 0]]),
        ratios=torch.tensor([[0.5, 1.0, 1.0], [1.0, 1.0, 0.5]]),
        whole=torch.zeros(2, 1),
        global_attributes=torch.tensor([[2.0, 0.0], [0.0, 0.0]]),
        joint_attributes=joint,
        joint_embeddings=torch.zeros(2, 0, 1),
    )


def test_a_walk_ends_where_the_reward_of_the_predicted_label_reaches_sigma():
    walk, classes = made_walk(), torch.eye(2)
    for entropy in (True, False):
        rewards = walk.rewards(classes, entropy)
        for n in range(2):
            for t in range(3):
                a_g, a_j = walk.global_attributes[n], walk.joint_attributes[n, t]
                label = (a_g + a_j).argmax()
                expected = a_j.softmax(dim=0)[label] + a_g.softmax(dim=0)[label]
                torch.testing.assert_close(rewards[n, t], expected * (walk.ratios[n, t] if entropy else 1))
    assert walk.ends(classes, 1.5, True).tolist() == [2, 3]
    assert walk.ends(classes, 0.5, False).tolist() == [1, 1]
    assert walk.ends(classes, None, True).tolist() == [3, 3]
    predictions = walk.predictions(classes)
    assert predictions.shape == (2, 4, 2)
    torch.testing.assert_close(predictions[0, 0], log_softmax(torch.tensor([2.0, 0.0]), dim=0))
    torch.testing.assert_close(predictions[0, 1], log_softmax(torch.tensor([2.0, 1.0]), dim=0))


def test_no_cell_is_visited_twice():
    net = network(steps=4).eval()
    task, _ = make_task()
    _, (model,) = fitted([Member(task, config(steps=4, epochs=2), 0)], 2)
    assert model.policy
    assert model.walk(task.features).cells.sort(dim=1).values.tolist() == [[0, 1, 2, 3]] * len(task.labels)
    seen = []

    def choose(step, embedding, visited):
        seen.append(visited.sum(dim=1).tolist())
        return torch.tensor([step, 3 - step])

    maps, whole = net.embedded(some_pictures(2)[0])
    walk = walked(net, whole, lambda cells: net.looked(maps, cells), choose)
    assert seen == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert walk.cells.tolist() == [[0, 1, 2, 3], [3, 2, 1, 0]]
    again = walked(net, whole, lambda cells: net.looked(maps, cells), in_turn(walk.cells))
    assert torch.equal(again.joint_attributes, walk.joint_attributes)


@pytest.mark.parametrize("kind", VARIANTS)
def test_every_variant_trains_scores_and_comes_back_from_its_state(kind):
    task, x = make_task()
    own = config(**VARIANTS[kind], epochs=2)
    run, (model,) = fitted([Member(task, own, 0)], 2)
    names = {"global"} if kind == "GlobalNet" else {"global", "local", "joint", "maximum"}
    assert set(run.losses[0][0]) == names | {"accuracy"}
    if own.sampler == "policy":
        assert {"policy_return", "random_return", "policy_steps", "accuracy"} <= set(run.losses[1][0])
    assert bool(model.policy) == (own.sampler == "policy")
    tensors, values = model.state()
    again = erpcnet.ERPCNetModel.from_state(
        tensors, values | {"seen": model.seen, "unseen": model.unseen, "combination": None}
    )
    assert torch.equal(again.unseen_scores(x), model.unseen_scores(x))
    one = torch.ones(len(x))
    torch.testing.assert_close(again.unseen_scores(x).exp().sum(dim=1), one)
    torch.testing.assert_close(again.seen_scores(x).exp().sum(dim=1), one)
    seen, unseen = again.sides(x)
    assert seen.shape == (len(x), SEEN)
    torch.testing.assert_close(torch.cat([seen, unseen], dim=1).exp().sum(dim=1), one)
    assert again.joined_by(Stacking(0.5)).scores(x).shape == (len(x), SEEN + UNSEEN)
    more = again.with_classes(["a", "b", "c"], task.semantics[[0, 4, 5]])
    assert more.unseen_scores(x).shape == (len(x), 3)
    latents = model.latents(x)
    assert set(latents) == ({"global"} if kind == "GlobalNet" else {"global", "union"})
    assert all(len(latent) == len(x) for latent in latents.values())


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
    given, barrier = [None, None], Barrier(2, timeout=60)

    taken, pictures = [[], []], LocalityLearner._pictures

    def noted(learner, rows):
        taken[learner.workers.rank].append(rows)
        return pictures(learner, rows)

    monkeypatch.setattr(LocalityLearner, "_pictures", noted)

    class Worker(OneEpoch):
        world_size = 2

        def average(self, gradients):
            given[self.rank] = [gradient.clone() for gradient in gradients]
            barrier.wait()
            means = [torch.stack(parts).mean(dim=0) for parts in zip(*given, strict=True)]
            barrier.wait()
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_(mean)
            return gradients

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
    learner = LocalityLearner(
        Member(task, config(sampler="random"), 0), Workers(torch.device("cpu")), erpcnet.ERPCNetModel
    )
    learner.train_epoch()
    model = learner.model()
    before = model.unseen_scores(x)
    learner.train_epoch()
    assert torch.equal(replace(model).unseen_scores(x), before)
    assert not torch.equal(learner.model().unseen_scores(x), before)


def test_a_trace_tells_steps_and_boxes():
    task, x = make_task()
    _, (model,) = fitted([Member(task, config(epochs=2), 0)], 2)
    trace = model.trace(x, "unseen")
    assert trace.cells.shape == (6, 3)
    assert trace.boxes.shape == (6, 3, 4)
    assert trace.log_probabilities.shape == (6, 4, UNSEEN)
    steps = model.steps(x)
    assert set(steps.taken.tolist()) <= {1, 2, 3}
    scores = model.unseen_scores(x)
    assert torch.equal(steps.held()[:, -1], scores.argmax(dim=1))
    at_the_stop = steps.confidences[torch.arange(6), steps.taken]
    torch.testing.assert_close(at_the_stop, scores.exp().amax(dim=1))
    assert torch.equal(steps.boxes, trace.boxes + 4)  # 64 of 72 pixels are scored
    assert steps.boxes.amax() <= STORED


@pytest.mark.parametrize(("kind", "taken"), [("GlobalNet", None), ("PCNet", 3)])
def test_without_a_policy_a_model_takes_all_steps_or_none(kind, taken):
    task, x = make_task()
    _, (model,) = fitted([Member(task, config(**VARIANTS[kind], epochs=1), 0)])
    steps = model.steps(x)
    assert steps is None if taken is None else steps.taken.tolist() == [taken] * len(x)


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
        long = net.embedded(normalised(centred(task.features, SMALL["side"])))[1].norm(dim=1).mean()
        state["features.0.weight"] *= 470 / long  # biases start at 0, so that what follows is as many times larger
    torch.save(state, tmp_path / "weights.pt")
    preset = {
        name: value for name, value in SMALL.items() if name in ("side", "kernel", "stride", "steps", "batch_size")
    }
    own = erpcnet.method.configure({**preset, "weights": str(tmp_path / "weights.pt"), "sampler": "random"}, "small")
    run, _ = fitted([Member(task, own, 0)], 6)
    first, last = (sum(losses[name] for name in ("global", "local", "joint")) for (losses,) in run.losses[::5])
    assert last < 0.7 * first  # not finite in the fourth epoch where gradients are left as they are


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"side": 96}, "side=96: larger than the stored pictures, 72×72"),
        ({"kernel": 4}, "kernel=4: larger than the 3×3"),
        ({"steps": 5}, "steps=5: there are 2×2 cells"),
        ({"crops": "image", "patch": 65}, "patch=65: larger than the 64×64"),
        ({"policy_epochs": 0}, "policy_epochs=0: sampler=policy would never learn one"),
        ({"policy_epochs": 3}, "policy_epochs=3: leaves none of the 3 epochs"),
        ({"weights": "no/such/file.pt"}, "weights=no/such/file.pt: there is no such file"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    task, _ = make_task()
    with pytest.raises(InputError, match=message) as caught:
        fitted([Member(task, config(**values), 0)])
    assert "\n" not in str(caught.value)


def test_features_that_are_no_pictures_are_refused():
    task, _ = make_task()
    for features in (task.features.float(), task.features[:, :-3]):
        with pytest.raises(InputError, match="are no square pictures"):
            fitted([Member(replace(task, features=features), config(), 0)])


def test_weights_come_from_a_file_but_for_its_classifier(tmp_path):
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_1

    torch.manual_seed(1)
    state = squeezenet1_1(weights=None).state_dict()
    torch.save(state, tmp_path / "weights.pt")
    save_file({n: t for n, t in state.items() if not n.startswith("classifier")}, tmp_path / "weights.safetensors")
    for name in ("weights.pt", "weights.safetensors"):
        net = network(weights=str(tmp_path / name))
        assert torch.equal(net.before[0][0].weight, state["features.0.weight"])
        assert torch.equal(net.extractor[0].squeeze.weight, state["features.12.squeeze.weight"])
    torch.save({n: t for n, t in state.items() if n != "features.3.squeeze.bias"}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match=r"not the weights of squeezenet1_1: `features.3.squeeze.bias` is not there"):
        network(weights=str(tmp_path / "weights.pt"))
    whole = squeezenet1_1(weights=None)
    for write in (lambda: torch.save(whole, tmp_path / "weights.pt"), lambda: _write_nonsense(tmp_path / "weights.pt")):
        write()
        with pytest.raises(InputError, match=r"weights\.pt: truncated, or holds more than tensors") as caught:
            network(weights=str(tmp_path / "weights.pt"))
        assert str(caught.value).isprintable()
    _write_nonsense(tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="not the weights of squeezenet1_1") as caught:
        network(weights=str(tmp_path / "weights.safetensors"))
    assert "\n" not in str(caught.value)


def _write_nonsense(path):
    path.write_bytes(b"nonsense")


@pytest.mark.parametrize(
    ("preset", "sigma", "steps", "dropout"),
    [("cub", 0.5, 6, 0.5), ("sun", 0.7, 6, 0.0), ("apy", 1.1, 6, 0.5), ("awa2", 0.5, 10, 0.0), ("small", 0.5, 4, 0.0)],
)
def test_presets_are_the_papers_choices(preset, sigma, steps, dropout):
    own = erpcnet.method.configure({}, preset)
    assert (own.sigma, own.steps, own.dropout) == (sigma, steps, dropout)


@pytest.mark.parametrize(
    "values",
    [
        {"side": 224, "kernel": 5, "stride": 3},
        {"side": 128, "kernel": 3, "stride": 2},
        {"side": 96, "kernel": 2, "stride": 1, "backbone": "squeezenet1_0"},  # maps of 5 × 5
        {"side": 100, "kernel": 3, "stride": 2, "padding": 1},
    ],
)
def test_patches_of_the_image_lie_as_the_cells_do(values):
    kinds = {"backbone": "resnet18", **values}
    maps, image = (network(crops=crops, **kinds) for crops in ("maps", "image"))
    assert maps.grid == image.grid
    corner = torch.tensor([[maps.cells - 1]])
    torch.testing.assert_close(image.boxes(corner), maps.boxes(corner), atol=0.03 * values["side"], rtol=0.0)


@pytest.mark.parametrize("entropy", [True, False])
def test_an_episode_pays_what_its_picture_is_worth(entropy):
    task, _ = make_task()
    learner = LocalityLearner(
        Member(task, config(entropy=entropy), 0), Workers(torch.device("cpu")), erpcnet.ERPCNetModel
    )
    learner.train_epoch()
    net = learner.network.eval().requires_grad_(False)
    env = LocalitiesVectorEnv(learner._everywhere(), 8, sigma=9.0, steps=3)
    env.reset(seed=0)
    rows, cells = env.episodes.rows.clone(), torch.tensor([[0, 3, 2]]).expand(8, 3)
    paid = torch.stack([torch.from_numpy(env.step(cells[:, step].numpy())[1]) for step in range(3)], dim=1)
    maps, whole = net.embedded(normalised(centred(task.features[rows], net.config.side)))
    walk = walked(net, whole, lambda chosen: net.looked(maps, chosen), in_turn(cells))
    joint, alone = ((a @ learner.text.T).softmax(dim=-1) for a in (walk.joint_attributes, walk.global_attributes))
    own, labels = torch.arange(8), task.labels[rows]
    worth = joint[own, :, labels] + alone[own, labels][:, None]
    torch.testing.assert_close(paid.float(), worth * walk.ratios if entropy else worth)
    assert (walk.ratios != 1).any()


def test_the_accuracy_of_stage_two_is_that_of_the_model():
    task, _ = make_task()
    learner = erpcnet.method.learner(Member(task, config(), 0), ALONE)
    learner.train_epoch()
    net = learner.network.eval().requires_grad_(False)
    learner.policy = first_weights(net.width, net.cells, generator(0, "policy"))
    found = learner.model().seen_scores(task.features).argmax(dim=1)
    accuracy = (found == task.labels).double().mean().item()
    assert learner._accuracy(learner.policy, learner._everywhere()) == pytest.approx(accuracy)


def test_a_member_whose_joint_layers_overflow_has_diverged():
    task, _ = make_task()
    learner = erpcnet.method.learner(Member(task, config(epochs=2), 0), ALONE)
    learner.train_epoch()
    with torch.no_grad():
        learner.network.fc_j2.weight.fill_(torch.inf)
    assert math.isnan(learner.train_epoch()["policy_return"])


def test_boxes_are_where_the_cells_are_in_the_picture():
    net = network(backbone="resnet18", side=64, kernel=2, stride=2, padding=0)  # maps of 4 × 4
    assert net.boxes(torch.tensor([[0, 1, 2]])).tolist() == [[[0, 0, 32, 32], [32, 0, 64, 32], [0, 32, 32, 64]]]
    patches = network(crops="image", patch=40, kernel=2, stride=1)  # 20 pixels from one to the next
    assert patches.grid == (2, 2)
    assert patches.boxes(torch.tensor([[3]])).tolist() == [[[20, 20, 60, 60]]]


def test_a_model_that_has_scored_can_be_sent_and_sees_samples_change():
    task, x = make_task()
    _, (model,) = fitted([Member(task, config(), 0)])
    scores = model.unseen_scores(x)
    assert torch.equal(pickle.loads(pickle.dumps(model)).unseen_scores(x), scores)
    x[0] = 255 - x[0]
    assert not torch.equal(model.unseen_scores(x)[0], scores[0])


def test_what_one_asks_of_a_model_does_not_depend_on_what_was_asked_before():
    task, x = make_task()
    _, (model,) = fitted([Member(task, config(epochs=2), 0)], 2)
    fresh = [replace(model) for _ in range(3)]
    expected = fresh[0].unseen_scores(x), fresh[1].seen_scores(task.features), fresh[2].latents(x)["union"]
    assert torch.equal(model.seen_scores(task.features), expected[1])
    assert torch.equal(model.unseen_scores(x), expected[0])
    assert torch.equal(model.latents(x)["union"], expected[2])
    assert model.unseen_scores(x[:0]).shape == (0, UNSEEN)


def test_weights_that_cannot_be_downloaded_are_told_in_one_line(monkeypatch):
    from urllib.error import URLError

    def unreachable(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(InputError, match="weights=imagenet: squeezenet1_1's weights could not be downloaded") as caught:
        network(weights="imagenet")
    assert "\n" not in str(caught.value)


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


@pytest.mark.slow
def test_the_policys_episodes_may_be_played_elsewhere():
    task, _ = make_task()
    run, (model,) = fitted([Member(task, config(epochs=2, policy_epochs=1, policy_episodes=8, env_runners=1), 0)], 2)
    assert model.policy
    assert run.losses[1][0]["policy_return"] > 0


@pytest.mark.slow
def test_both_stages_with_ppo_go_on_from_any_epoch():
    task, x = make_task()
    own = config(epochs=4, policy_epochs=2, policy_episodes=32)
    run, (whole,) = fitted([Member(task, own, 0)], 4)
    for losses, *_ in run.losses[2:]:
        assert 1 <= losses["policy_steps"] <= 3
        assert losses["policy_return"] > 0
        assert 0 <= losses["accuracy"] <= 1
    run, _ = fitted([Member(task, own, 0)], 3)
    _, (resumed,) = fitted([Member(task, own, 0, run.states([0])[0])], 1)
    assert all(torch.equal(resumed.policy[name], tensor) for name, tensor in whole.policy.items())
    assert torch.equal(resumed.unseen_scores(x), whole.unseen_scores(x))
    trace = whole.trace(x, "all")
    assert trace.cells.sort(dim=1).values.diff(dim=1).min() > 0


def test_a_member_that_diverged_late_does_not_stop_the_others():
    task, *_ = make_task()
    member = Member(task, config(sampler="policy", epochs=2, policy_epochs=1), 0)
    learner = erpcnet.method.learner(member, ALONE)
    learner.train_epoch()
    with torch.no_grad():
        next(learner.network.last.parameters()).fill_(torch.inf)
    losses = learner.train_epoch()
    assert math.isnan(losses["policy_return"])
