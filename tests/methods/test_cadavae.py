from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from methods import cadavae
from methods import latents as latents_module
from methods.cadavae import CADAVAEConfig, method
from platform.errors import InputError
from platform.learning.training_data import TrainingData
from platform.method import Member
from platform.population.noise import EpochNoise
from platform.training import protocols
from platform.training.evaluation import all_metrics, zero_shot_metrics
from platform.training.protocols import Candidate, ProtocolOptions, TrainingContext, validate
from platform.workers import Workers
from platform.zeroshot.classifiers import Adam
from platform.zeroshot.gate import Gate, Stacking

CPU = torch.device("cpu")
EPOCHS = 4
WARM_UPS = {"beta_end": 0.8, "cross_start": 0.2, "cross_end": 0.5, "distance_start": 0.4, "distance_end": 0.9}
SIZES = {"z": 6, "encoder_x": 14, "decoder_x": 16, "encoder_y": 12, "decoder_y": 10}
SMALL = {"epochs": EPOCHS, "batch_size": 16, "learning_rate": 2e-3, "combination": "hard", **WARM_UPS, **SIZES}
SMALL |= {"classifier_samples": 20, "joint_seen_samples": 10, "joint_unseen_samples": 15}
PAPER = {"deviation": "paper", "noise": "dimension"}
DIFFERENT = (  # whatever members of one population may differ in
    {},
    {"z": 9, "encoder_x": 20, "decoder_x": 7, "encoder_y": 5, "decoder_y": 13, "learning_rate": 5e-3, **PAPER},
    {"z": 3, "reconstruction": "mean", "distribution_alignment": False, "deviation": "paper", "epochs": 6},
    {
        **PAPER,
        "beta": 0.5,
        "reconstruction": "l2",
        "cross_alignment": False,
        "combination": "joint",
        "classifier_batch_size": 0,
    },
    {
        "deviation": "released",
        "noise": "sample",
        "z": 8,
        "combination": "joint",
        "distance": 2.0,
        "classifier_fit": "penalised",
    },
)


def config(**values):
    return method.configure({**SMALL, **values})


@pytest.fixture
def members(five_tasks):
    """Members of different configurations and seeds."""
    return [Member(task, config(**c), 10 + i) for i, (task, c) in enumerate(zip(five_tasks, DIFFERENT, strict=True))]


@pytest.fixture
def single(members):
    """The same without hidden layers."""
    return [replace(m, config=m.config.model_copy(update={"hidden": False})) for m in members]


def population(*members):
    return method.population(members, Workers(CPU))


def start_of(member):
    """A member's weights before its first step."""
    alone = population(member)
    return alone.layers.own(0, alone.layers.parameters)


# The losses, written once more from the equations


def reference_losses(w, c, x, y, noise):
    """The terms of L, sample by sample. w: a member's weights; noise: (batch, 2·z)."""
    prior = Normal(0.0, 1.0)

    def layer(inputs, name):
        return inputs @ w[name] + w[f"{name}_bias"][0]

    def network(inputs, name):
        return layer(layer(inputs, f"{name}_1").relu() if c.hidden else inputs, f"{name}_2")

    def error(guess, truth):
        if c.reconstruction == "l1":
            return (guess - truth).abs().sum()
        squares = (guess - truth).square()
        return squares.sum() if c.reconstruction == "l2" else squares.mean()

    terms = []
    for f_x, f_y, e in zip(x, y, noise, strict=True):
        (mean_x, logvar_x), (mean_y, logvar_y) = (
            network(f, f"encoder_{m}").chunk(2) for f, m in ((f_x, "x"), (f_y, "y"))
        )
        power = 1.0 if c.deviation == "released" else 0.5
        z_x, z_y = mean_x + (power * logvar_x).exp() * e[: c.z], mean_y + (power * logvar_y).exp() * e[c.z :]
        q_x, q_y = Normal(mean_x, (0.5 * logvar_x).exp()), Normal(mean_y, (0.5 * logvar_y).exp())
        squared = (q_x.mean - q_y.mean).square().sum() + (q_x.stddev - q_y.stddev).square().sum()
        terms.append(
            [
                error(network(z_x, "decoder_x"), f_x) + error(network(z_y, "decoder_y"), f_y),
                error(network(z_y, "decoder_x"), f_x) + error(network(z_x, "decoder_y"), f_y),
                kl_divergence(q_x, prior).sum(),
                kl_divergence(q_y, prior).sum(),
                squared.sqrt(),
            ]
        )
    return [torch.stack(term).mean() for term in zip(*terms, strict=True)]


def warm(c, name, epoch):
    """A weight in an epoch, counted in epochs as the released code does it."""
    start, end = (getattr(c, f"{name}_{at}") * c.epochs for at in ("start", "end"))
    return min(max(getattr(c, name) * (epoch - start) / (end - start), 0.0), getattr(c, name))


def reference_fit(member, start, epochs):
    """By autograd and torch's Adam, one model; the samples and the noise are the population's."""
    c, task = member.config, member.task
    w = {name: weight.clone().requires_grad_() for name, weight in start.items()}
    adam, data = torch.optim.Adam(w.values(), lr=c.learning_rate, amsgrad=True), TrainingData([member], CPU)
    for epoch in range(epochs):
        _, rows = data.batches([epoch], c.batch_size)
        whole, single = slice(0, c.batch_size), c.noise == "sample"
        draws = EpochNoise([member.seed], [epoch], ("z", "z"), [{"z": c.z}], [single], c.batch_size, whole, CPU)
        beta, gamma, delta = (warm(c, name, epoch) for name in ("beta", "cross", "distance"))
        for step, batch in enumerate(rows[:, 0]):
            x, y = task.features[batch], task.semantics[task.labels[batch]]
            own, crossed, kl_x, kl_y, distance = reference_losses(w, c, x, y, draws.step(step)[0][0])
            adam.zero_grad()
            loss = own + beta * (kl_x + kl_y) + c.cross_alignment * gamma * crossed
            (loss + c.distribution_alignment * delta * distance).backward()
            adam.step()
    return {name: weight.detach() for name, weight in w.items()}


@pytest.mark.parametrize("accelerate", [True, False])
@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("values", [{}, {"reconstruction": "l2"}, {"reconstruction": "mean"}, PAPER])
@pytest.mark.parametrize(("gamma", "delta"), [(0.7, 0.4), (0.0, 0.4), (0.7, 0.0)])
def test_a_steps_losses_and_gradients_are_those_of_the_equations(members, values, hidden, gamma, delta, accelerate):
    member = replace(members[0], config=config(hidden=hidden, accelerate=accelerate, **values))
    alone = population(member)
    _, rows = alone.data.batches([0], 16)
    drawn = alone._noise("", alone.parts[""], slice(0, 16)).step(0)
    weights = torch.tensor([1.0, gamma, 0.3, 0.3, delta])[:, None]
    wanted = {"cross_reconstruction": gamma, "distance": delta}
    wanted = frozenset(name for name, weight in wanted.items() if weight > 0)
    batch, noise = alone.batch_of(rows[0], drawn, wanted), drawn[0]
    terms = alone.differentiate(batch, alone.encode(batch), weights)[:, 0]
    w = {name: weight.requires_grad_() for name, weight in start_of(member).items()}
    x, y = member.task.features[rows[0, 0]], member.task.semantics[member.task.labels[rows[0, 0]]]
    own, crossed, kl_x, kl_y, distance = reference_losses(w, member.config, x, y, noise[0])
    expected = torch.stack([own, crossed * (gamma > 0), kl_x, kl_y, distance * (delta > 0)])
    torch.testing.assert_close(terms, expected, rtol=1e-5, atol=1e-5)
    (own + gamma * crossed + 0.3 * (kl_x + kl_y) + delta * distance).backward()
    for name, gradient in alone.layers.gradients.items():
        torch.testing.assert_close(gradient[0], w[name].grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("index", range(5))
def test_a_fit_is_that_of_a_textbook_loop(models_of, members, single, index):
    for member in (members[index], single[index]) if index == 2 else (members[index],):
        expected = reference_fit(member, start_of(member), EPOCHS)
        (model,) = models_of(method, [member], EPOCHS)
        for name, weight in expected.items():
            torch.testing.assert_close(model.weights[name], weight, rtol=1e-3, atol=5e-5)


# Warm-ups


def weights_of_epoch(epoch, **values):
    """β, γ and δ of a single member."""
    weights = method.weights(method.configure(values), epoch, 1)
    assert weights["kl_x"] == weights["kl_y"]
    return [weights[name].item() for name in ("kl_x", "cross_reconstruction", "distance")]


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, (0, 0, 0)),
        (6, (0.25 * 6 / 93, 0, 0)),
        (14, (0.25 * 14 / 93, 0, 8.13 / 2)),
        (22, (0.25 * 22 / 93, 2.37 / 54, 8.13)),
        (48, (0.25 * 48 / 93, 2.37 / 2, 8.13)),
        (75, (0.25 * 75 / 93, 2.37, 8.13)),
        (99, (0.25, 2.37, 8.13)),
    ],
)
def test_the_weights_warm_up_as_in_the_released_code(epoch, expected):
    assert weights_of_epoch(epoch) == pytest.approx(expected, abs=1e-6)


def test_warm_ups_keep_their_places_in_fewer_epochs():
    for epoch in (0, 3, 5, 10, 15, 19):
        assert weights_of_epoch(epoch, epochs=20) == pytest.approx(weights_of_epoch(5 * epoch))


def test_an_alignment_that_is_off_has_no_weight():
    assert weights_of_epoch(99, cross_alignment=False) == pytest.approx([0.25, 0, 8.13])
    assert weights_of_epoch(99, distribution_alignment=False) == pytest.approx([0.25, 2.37, 0])


def test_members_at_different_epochs_have_their_own_weights(members):
    both = population(members[0], members[1])
    both.epochs = [3, 1]
    together = both.loss_weights([3, 2])
    for m, epoch in enumerate(both.epochs):
        alone = population(members[m])
        alone.epochs = [epoch]
        steps = (3, 2)[m]
        assert torch.equal(together[:steps, :, m : m + 1], alone.loss_weights([steps]))


def test_losses_that_do_not_count_are_zero(fit, members):
    history = fit(method, [members[3], members[2], members[0]]).history
    assert [epoch[0]["cross_reconstruction"] for epoch in history] == [0] * EPOCHS
    assert [epoch[1]["distance"] for epoch in history] == [0] * EPOCHS
    assert all(history[-1][2].values())


# Populations


def test_what_lies_beyond_a_members_widths_stays_zero(members):
    together = population(*members)
    for epoch in range(EPOCHS):
        together.epochs = [epoch] * len(members)
        together.train_epoch()
    for tensors in (together.layers.parameters, together.optimiser.square, together.optimiser.peak):
        own = [together.layers.own(m, tensors) for m in range(len(members))]
        padded = together.layers.stacked(own)
        assert all(torch.equal(tensors[name], padded[name]) for name in tensors)


# The model


@pytest.mark.parametrize(
    "values",
    [{}, {"hidden": False}, {"cross_alignment": False}, {"distribution_alignment": False, "reconstruction": "l2"}],
    ids=["cada", "single layers", "da", "ca"],
)
def test_it_learns(models_of, problem, values):
    sizes = {"z": 8, "encoder_x": 32, "decoder_x": 32, "encoder_y": 32, "decoder_y": 32, "epochs": 40}
    classifier = {"classifier_samples": 100, "classifier_passes": 25}
    fitted = config(**{**sizes, **classifier, "beta": 0.05, "learning_rate": 5e-3, **values})
    (model,) = models_of(method, [Member(problem.task, fitted, 0)])
    assert zero_shot_metrics(model, problem.test)["zsl"] > 0.8  # chance is 1/3
    seen = problem.test.where(problem.test.labels < 8)
    assert (model.seen_scores(seen.features).argmax(1) == seen.labels).double().mean() > 0.9


@pytest.fixture
def model(members, models_of):
    return models_of(method, members[:1])[0]


@pytest.fixture
def joint(members, models_of):
    return models_of(method, [members[3]])[0]


def test_unseen_scores_are_those_of_the_features_means(model, problem):
    x, w = problem.test.features, model.weights
    hidden = (x @ w["encoder_x_1"] + w["encoder_x_1_bias"]).relu()
    mean = hidden @ w["encoder_x_2"][:, :6] + w["encoder_x_2_bias"][:, :6]
    torch.testing.assert_close(model.latent(x), mean)
    torch.testing.assert_close(model.unseen_scores(x), model.classifiers["unseen"].log_probabilities(mean))


@pytest.mark.parametrize(("deviation", "power"), [("paper", 0.5), ("released", 1.0)])
def test_generated_latents_have_the_texts_distribution(model, deviation, power):
    model = replace(model, config=config(deviation=deviation))
    latents = cadavae._of_text(model, 20_000, "latents")
    mean, logvar = model.encoded("y", model.semantics).chunk(2, dim=-1)
    torch.testing.assert_close(latents.mean(1), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(latents.std(1), (power * logvar).exp(), rtol=0.03, atol=0.01)


# Without a gate


def test_the_joint_classifier_is_one_distribution_over_all_classes(model, joint, problem):
    x = problem.test.features
    seen, unseen = joint.sides(x)
    assert (seen.shape, unseen.shape) == ((len(x), 8), (len(x), 2))
    torch.testing.assert_close(torch.cat([seen, unseen], 1).exp().sum(1), torch.ones(len(x)))
    assert not torch.allclose(unseen, joint.unseen_scores(x))  # which knows the unseen classes alone
    for side, own in zip(model.sides(x), (model.seen_scores(x), model.unseen_scores(x)), strict=True):
        assert torch.equal(side, own)


def test_the_joint_classifier_learns_seen_classes_from_features_and_unseen_ones_from_text(models_of, problem):
    sizes = {"z": 8, "encoder_x": 32, "decoder_x": 32, "encoder_y": 32, "decoder_y": 32, "epochs": 30, "beta": 0.05}
    classifier = {"joint_passes": 33}
    samples = {"joint_seen_samples": 40, "joint_unseen_samples": 60}
    fitted = config(combination="joint", learning_rate=5e-3, **sizes, **classifier, **samples)
    (model,) = models_of(method, [Member(problem.task, fitted, 0)])
    metrics = all_metrics(model.joined_by(Stacking(0.0)), problem.test)
    assert metrics["seen"] > 0.8
    assert model.kept["seen_latents"].shape == (8, 40, 8)
    generated = cadavae._of_text(model, 60, "other latents").flatten(0, 1)
    guesses = model.joint_classifier.log_probabilities(generated).argmax(1)
    assert (guesses == 8 + torch.arange(3).repeat_interleave(60)).double().mean() > 0.8


def latents_of_two_classes(model, scale, apart):
    """A model whose classes, one seen and one unseen, lie `apart` deviations from each other in its first dimension."""
    draw = torch.Generator().manual_seed(0)
    seen = scale * (torch.randn(1, 200, 6, generator=draw) + torch.tensor([apart, 0, 0, 0, 0, 0]))
    return replace(model, seen=("a",), unseen=("b",), semantics=model.semantics[:1], kept={"seen_latents": seen})


@pytest.mark.parametrize(("fit_by", "scales"), [("adam", (1.0,)), ("penalised", (1.0, 0.01))])
def test_a_seen_class_that_lies_apart_is_recognised_although_it_has_fewer_latents(joint, monkeypatch, fit_by, scales):
    shape = {"joint_unseen_samples": 400, "classifier_fit": fit_by, "classifier_batch_size": 32}
    model = replace(joint, config=CADAVAEConfig(**{**joint.config.model_dump(), **shape}))
    for scale in scales:
        unseen = scale * torch.randn(1, 400, 6, generator=torch.Generator().manual_seed(1))
        monkeypatch.setattr(cadavae, "_of_text", lambda *_, unseen=unseen: unseen)
        own = latents_of_two_classes(model, scale, apart=6.0)
        found = own.joint_classifier.log_probabilities(own.kept["seen_latents"][0]).argmax(1)
        assert (found == 0).double().mean() > 0.9


def test_the_passes_are_those_of_the_config(joint, monkeypatch):
    trained = []
    monkeypatch.setattr(
        latents_module, "classifiers_on", lambda _, trainings, *__: trained.extend(trainings) or trainings
    )
    assert replace(joint, config=method.configure({}), classifiers={}).joint_classifier
    replace(joint, config=method.configure({"hidden": True}, "ntu60-synse")).refitted()
    code = Adam(33, 1e-3, 32, betas=(0.5, 0.999), gain=0.5)
    assert trained == [code, Adam(300, 1e-3, None, betas=(0.9, 0.999), gain=0.5)]


def test_a_protocol_joins_the_joint_scores_as_they_are(problem):
    candidates = [Candidate(config(combination=kind), 0, "ru3") for kind in ("joint", "hard")]
    options, context = ProtocolOptions(protocols=("clean",)), TrainingContext(CPU)
    found = [validate(method, {"ru3": problem}, {"0": c.config}, [0], options, context)["0"][0] for c in candidates]
    assert [type(v.combination) for v in found] == [Stacking, Gate]
    results = protocols.refit_and_test(method, {"ru3": problem}, candidates, found, options, context)
    x = problem.test.features
    model = results[0].models["clean"]
    assert torch.equal(model.scores(x), torch.cat(model.sides(x), dim=1))
    assert results[0].metrics["clean"]["zsl"] == pytest.approx(zero_shot_metrics(model, problem.test)["zsl"])


# Hyperparameters


def test_the_defaults_are_the_released_codes():
    c = CADAVAEConfig()
    assert (c.z, c.encoder_x, c.decoder_x, c.encoder_y, c.decoder_y) == (64, 1560, 1660, 1450, 665)
    assert (c.learning_rate, c.batch_size, c.epochs, c.reconstruction) == (1.5e-4, 50, 100, "l1")
    assert (c.classifier_samples, c.joint_seen_samples, c.joint_unseen_samples) == (200, 200, 400)
    assert (c.classifier_fit, c.classifier_passes, c.joint_passes, c.classifier_batch_size) == ("adam", 25, 33, 32)
    assert (c.classifier_learning_rate, c.classifier_beta_1) == (1e-3, 0.5)
    assert (c.combination, c.deviation, c.noise) == ("joint", "released", "sample")


def test_the_presets_are_those_of_the_paper_and_of_synses_comparison():
    assert method.configure({}, "paper") == CADAVAEConfig(deviation="paper", noise="dimension")
    for preset, z in (("ntu60-synse", 100), ("ntu120-synse", 200)):
        c = method.configure({}, preset)
        assert (c.z, c.hidden, c.distribution_alignment, c.cross_alignment) == (z, False, False, True)
        assert (c.learning_rate, c.batch_size, c.classifier_samples, c.combination) == (1e-4, 64, 500, "hard")
        assert (c.deviation, c.noise, c.classifier_passes, c.classifier_batch_size) == ("paper", "sample", 300, 0)


def test_a_warm_up_that_ends_before_it_starts_is_refused(problem):
    with pytest.raises(InputError, match=r"cross_end=0.1: its warm-up starts at 0.2; must not be below that"):
        population(Member(problem.task, config(cross_end=0.1), 0))
