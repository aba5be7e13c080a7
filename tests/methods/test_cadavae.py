from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from training_loop import fitted_until

from methods import cadavae
from methods.cadavae import CADAVAEConfig, method
from platform.errors import InputError
from platform.learning.training_data import TrainingData
from platform.method import Member
from platform.population.noise import EpochNoise
from platform.search.space import read_space
from platform.training import protocols
from platform.training.evaluation import all_metrics, zero_shot_metrics
from platform.training.fitting import Fitting, TrainingGroup, best_epoch, chosen_epoch
from platform.training.protocols import Candidate, ProtocolOptions, TrainingContext, validate
from platform.training.saved_models import load_model, save_model
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
def members(make_problem):
    """Members of different configurations and seeds, on tasks with other counts of samples and unseen classes."""
    long, short, other = (make_problem(count, seed).task for seed, count in enumerate((30, 17, 24)))
    short = replace(short, unseen=short.unseen[:2], semantics=short.semantics[:-1])
    tasks = [long, short, long, short, other]
    return [Member(task, config(**c), 10 + i) for i, (task, c) in enumerate(zip(tasks, DIFFERENT, strict=True))]


@pytest.fixture
def single(members):
    """The same without hidden layers."""
    return [replace(m, config=m.config.model_copy(update={"hidden": False})) for m in members]


def fit(members, evaluate=None, selections=None, epochs=EPOCHS, **options):
    """A training group of the members that has ended; its `last` models are those after the last epoch."""
    selections = selections or {"last": chosen_epoch([epochs - 1] * len(members))}
    group = TrainingGroup("all", members, epochs - 1, evaluate, selections)
    Fitting(method, [group], Workers(CPU), **options).fit()
    return group


def last_of(members, **options):
    return list(fit(members, **options).kept["last"].values())


def population(*members):
    return method.population(members, Workers(CPU))


def start_of(member):
    """A member's weights before its first step."""
    alone = population(member)
    return alone.layers.own(0, alone.layers.parameters)


def assert_same(model, other, x, exact=False):
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-3, "atol": 1e-4}
    assert model.weights.keys() == other.weights.keys()
    for name, weight in model.weights.items():
        torch.testing.assert_close(weight, other.weights[name], **tolerance)
    torch.testing.assert_close(model.unseen_scores(x), other.unseen_scores(x), **tolerance)
    for side, of_other in zip(model.sides(x), other.sides(x), strict=True):
        torch.testing.assert_close(side, of_other, **tolerance)


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
    batch, noise = alone.batch_of(rows[0], drawn), drawn[0]
    weights = torch.tensor([1.0, gamma, 0.3, 0.3, delta])[:, None]
    wanted = {"cross_reconstruction": gamma, "distance": delta}
    wanted = frozenset(name for name, weight in wanted.items() if weight > 0)
    terms = alone.differentiate(batch, alone.encode(batch), weights, wanted)[:, 0]
    w = {name: weight.requires_grad_() for name, weight in start_of(member).items()}
    x, y = member.task.features[rows[0, 0]], member.task.semantics[member.task.labels[rows[0, 0]]]
    own, crossed, kl_x, kl_y, distance = reference_losses(w, member.config, x, y, noise[0])
    expected = torch.stack([own, crossed * (gamma > 0), kl_x, kl_y, distance * (delta > 0)])
    torch.testing.assert_close(terms, expected, rtol=1e-5, atol=1e-5)
    (own + gamma * crossed + 0.3 * (kl_x + kl_y) + delta * distance).backward()
    for name, gradient in alone.layers.gradients.items():
        torch.testing.assert_close(gradient[0], w[name].grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("index", range(5))
def test_a_fit_is_that_of_a_textbook_loop(members, single, index):
    for member in (members[index], single[index]) if index == 2 else (members[index],):
        expected = reference_fit(member, start_of(member), EPOCHS)
        (model,) = last_of([member])
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


def test_losses_that_do_not_count_are_zero(members):
    history = fit([members[3], members[2], members[0]]).history
    assert [epoch[0]["cross_reconstruction"] for epoch in history] == [0] * EPOCHS
    assert [epoch[1]["distance"] for epoch in history] == [0] * EPOCHS
    assert all(history[-1][2].values())


# Populations


@pytest.mark.parametrize("hidden", [True, False])
def test_each_member_of_a_population_equals_the_same_configuration_alone(members, single, hidden, problem):
    members = members if hidden else single
    together = fit(members)
    for m, member in enumerate(members):
        alone = fit([member])
        assert_same(together.kept["last"][m], alone.kept["last"][0], problem.test.features)
        for epoch in range(EPOCHS):
            assert together.history[epoch][m] == pytest.approx(alone.history[epoch][0], rel=1e-3, abs=1e-5)


def test_what_lies_beyond_a_members_widths_stays_zero(members):
    together = population(*members)
    for epoch in range(EPOCHS):
        together.epochs = [epoch] * len(members)
        together.train_epoch()
    for tensors in (together.layers.parameters, together.optimiser.square, together.optimiser.peak):
        own = [together.layers.own(m, tensors) for m in range(len(members))]
        padded = together.layers.stacked(own)
        assert all(torch.equal(tensors[name], padded[name]) for name in tensors)


class Until:
    """A run of some epochs that asks for one member's state and model at its end."""

    device, rank, world_size = CPU, 0, 1

    def __init__(self, epochs, asked):
        self.left, self.asked = epochs, [asked]

    def epoch_end(self, losses, models, states):
        self.left -= 1
        if not self.left:
            self.state, self.model = states(self.asked)[0], models(self.asked)[0]
        return self.left > 0

    def average(self, gradients):
        return gradients


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_member_goes_on_in_other_company_as_if_left_alone(members, problem, epoch):
    (alone,) = last_of([members[1]])
    first, second = Until(epoch, 1), Until(EPOCHS - epoch, 1)
    fitted_until(method, [members[0], members[1]], first)
    fitted_until(method, [members[4], replace(members[1], state=first.state), members[2]], second)
    assert_same(second.model, alone, problem.test.features)


def test_a_member_that_is_no_longer_finite_freezes_alone(members, problem):
    wild, sound = Member(members[0].task, config(learning_rate=1e30), 0), members[:2]
    together, apart = fit([sound[0], wild, sound[1]]), fit(sound)
    for place, m in ((0, 0), (2, 1)):
        assert_same(together.kept["last"][place], apart.kept["last"][m], problem.test.features)
    for epoch in range(EPOCHS):
        assert not all(torch.isfinite(torch.tensor(v)) for v in together.history[epoch][1].values())
        assert together.history[epoch][2] == pytest.approx(apart.history[epoch][1], rel=1e-3, abs=1e-5)


def test_seeds_decide(members, problem):
    first, again, other = last_of([replace(members[0], seed=seed) for seed in (3, 3, 4)])
    assert_same(first, again, problem.test.features)
    assert not torch.allclose(first.weights["encoder_x_2"], other.weights["encoder_x_2"], atol=1e-3)


class Cut(Exception):
    """A kill."""


def test_a_fit_cut_off_after_any_epoch_ends_with_the_same_numbers(members, problem, tmp_path):
    def evaluate(m, model):
        samples = problem.test
        return zero_shot_metrics(model, samples.where(samples.labels < len(model.seen) + len(model.unseen)))

    groups = [[m] for m in range(len(members))]
    selections = {"best": best_epoch(groups, "zsl"), "last": chosen_epoch([EPOCHS - 1] * len(members))}
    options = {"checkpoint": tmp_path / "fit.safetensors", "checkpoint_seconds": 0}
    whole = fit(members, evaluate, selections)
    for epoch in range(EPOCHS):

        def cut(at, _, epoch=epoch):
            if at == epoch:
                raise Cut

        with pytest.raises(Cut):
            fit(members, evaluate, selections, **options, on_epoch=cut)
        resumed = fit(members, evaluate, selections, **options)
        assert resumed.history == whole.history
        for name, models in whole.kept.items():
            for m, model in models.items():
                own, again = model.state()[0], resumed.kept[name][m].state()[0]
                assert own.keys() == again.keys()
                assert all(torch.equal(tensor, again[key]) for key, tensor in own.items())
        options["checkpoint"].unlink()


# The model


@pytest.mark.parametrize(
    "values",
    [{}, {"hidden": False}, {"cross_alignment": False}, {"distribution_alignment": False, "reconstruction": "l2"}],
    ids=["cada", "single layers", "da", "ca"],
)
def test_it_learns(problem, values):
    sizes = {"z": 8, "encoder_x": 32, "decoder_x": 32, "encoder_y": 32, "decoder_y": 32, "epochs": 40}
    classifier = {"classifier_samples": 100, "classifier_passes": 25}
    fitted = config(**{**sizes, **classifier, "beta": 0.05, "learning_rate": 5e-3, **values})
    (model,) = last_of([Member(problem.task, fitted, 0)], epochs=40)
    assert zero_shot_metrics(model, problem.test)["zsl"] > 0.8  # chance is 1/3
    seen = problem.test.where(problem.test.labels < 8)
    assert (model.seen_scores(seen.features).argmax(1) == seen.labels).double().mean() > 0.9


@pytest.fixture
def model(members):
    return last_of([members[0]])[0]


@pytest.fixture
def joint(members):
    return last_of([members[3]])[0]


def test_scores_are_log_probabilities_of_the_features_means(model, problem):
    x, w = problem.test.features, model.weights
    for scores in (model.unseen_scores(x), model.seen_scores(x)):
        torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(x)))
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


def test_the_same_classes_again_give_the_same_scores(members, problem):
    for member, model in zip(members, last_of(members), strict=True):
        again = model.with_classes(member.task.unseen, member.task.semantics[8:])
        assert_same(again, model, problem.test.features)


@pytest.mark.parametrize("kind", ["gated", "joint"])
def test_other_classes_may_be_more_or_fewer(model, joint, problem, kind):
    model, combination = {
        "gated": (model, Gate("soft", 1.0, 0.5, 3, (1.0,) * 6, 0.0)),
        "joint": (joint, Stacking(0.0)),
    }[kind]
    x, joined = problem.test.features, model.joined_by(combination)
    assert joined.scores(x).shape == (len(x), 8 + len(model.unseen))
    for count in (2, 5):
        names = tuple(f"new {i}" for i in range(count))
        renamed = joined.with_classes(names, problem.task.semantics[:count].double())
        assert renamed.unseen == names
        assert renamed.unseen_scores(x).shape == (len(x), count)
        assert renamed.scores(x).shape == (len(x), 8 + count)
        assert torch.equal(renamed.seen_scores(x), model.seen_scores(x))


@pytest.mark.parametrize("shape", [(3, 15), (3, 17), (16,)])
def test_semantics_of_another_encoder_are_refused(model, shape):
    with pytest.raises(InputError, match=r"expected \(classes, 16\)"):
        model.with_classes(["a", "b", "c"], torch.zeros(shape))


def test_a_saved_model_gives_the_same_scores(members, problem, tmp_path):
    x = problem.test.features
    for m, model in enumerate(last_of(members)):
        joined = model.joined_by(Stacking(0.5))
        save_model("methods.cadavae", joined, tmp_path / str(m), {})
        loaded, _ = load_model(tmp_path / str(m))
        assert_same(loaded, joined, x, exact=True)
        assert torch.equal(loaded.scores(x), joined.scores(x))
        classes = (["a", "b"], problem.task.semantics[:2])
        assert_same(loaded.with_classes(*classes), joined.with_classes(*classes), x)


def test_given_logits_are_used_and_missed(members, problem):
    task = members[0].task
    member = Member(replace(task, logits=torch.randn(len(task.labels), 8)), config(seen_classifier="logits"), 10)
    with pytest.raises(InputError, match="the data folder has no logits"):
        fit([replace(member, task=task)])
    (model,), x = last_of([member]), problem.test.features
    logits = torch.randn(len(x), 8)
    torch.testing.assert_close(model.seen_scores(x, logits), torch.log_softmax(logits, 1))
    logits[3] = torch.nan
    for missing in (None, logits):
        with pytest.raises(InputError, match="these samples have no logits"):
            model.seen_scores(x, missing)


# Without a gate


def test_the_joint_classifier_is_one_distribution_over_all_classes(model, joint, problem):
    x = problem.test.features
    seen, unseen = joint.sides(x)
    assert (seen.shape, unseen.shape) == ((len(x), 8), (len(x), 2))
    torch.testing.assert_close(torch.cat([seen, unseen], 1).exp().sum(1), torch.ones(len(x)))
    assert not torch.allclose(unseen, joint.unseen_scores(x))  # which knows the unseen classes alone
    for side, own in zip(model.sides(x), (model.seen_scores(x), model.unseen_scores(x)), strict=True):
        assert torch.equal(side, own)


def test_the_joint_classifier_learns_seen_classes_from_features_and_unseen_ones_from_text(problem):
    sizes = {"z": 8, "encoder_x": 32, "decoder_x": 32, "encoder_y": 32, "decoder_y": 32, "epochs": 30, "beta": 0.05}
    classifier = {"joint_passes": 33}
    samples = {"joint_seen_samples": 40, "joint_unseen_samples": 60}
    fitted = config(combination="joint", learning_rate=5e-3, **sizes, **classifier, **samples)
    (model,) = last_of([Member(problem.task, fitted, 0)], epochs=30)
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
    monkeypatch.setattr(cadavae, "classifiers_on", lambda _, trainings, *__: trained.extend(trainings) or trainings)
    cadavae._classifiers([joint], [[joint.kept["seen_latents"]]], "joint classifier", [33])
    in_one = replace(joint, config=method.configure({}, "ntu60-synse"))
    cadavae._classifiers(
        [in_one], [[joint.kept["seen_latents"]]], "unseen classifier", [in_one.config.classifier_passes]
    )
    code = Adam(33, 1e-3, 32, betas=(0.5, 0.999), gain=0.5)
    assert trained == [replace(code, batch_size=None), Adam(300, 1e-3, None, betas=(0.9, 0.999), gain=0.5)]


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


def test_every_field_says_what_it_is():
    assert all(field.description for field in CADAVAEConfig.model_fields.values())
    assert set(method.pack_by) <= set(CADAVAEConfig.model_fields)


def test_a_warm_up_that_ends_before_it_starts_is_refused(problem):
    with pytest.raises(InputError, match=r"cross_end=0.1: its warm-up starts at 0.2; must not be below that"):
        fit([Member(problem.task, config(cross_end=0.1), 0)])


def test_its_search_space_can_be_read():
    folder = Path(__file__).parents[2] / "search_spaces"
    assert read_space(folder / "cadavae.yaml", CADAVAEConfig).stages
