from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import binary_cross_entropy, mse_loss

from methods.accelerated.sadvae import AcceleratedSADVAE
from methods.sadvae import SADVAEConfig, method
from platform.errors import InputError, InputWarning
from platform.learning.training_data import TrainingData
from platform.method import Member
from platform.population.noise import EpochNoise
from platform.training.evaluation import zero_shot_metrics
from platform.workers import Workers
from platform.zeroshot import classifiers

CPU = torch.device("cpu")
SMALL = {"epochs": 4, "z_r": 8, "z_v": 4, "learning_rate": 2e-3, "n_d": 2, "classifier_samples": 20}
SMALL |= {"classifier_steps": 30}
DIFFERENT = (  # whatever members of one population may differ in
    {},
    {"z_r": 12, "z_v": 2, "n_d": 3, "learning_rate": 5e-3, "beta_x": 0.3, "beta_y": 0.1, "lambda_2": 0.5},
    {"alignment": "naive", "z_r": 5, "noise": "sample"},
    {"alignment": "fd", "z_v": 7, "annealing": "released", "lambda_1": 0.4, "seen_classifier": "latent"},
    {
        "annealing": "released",
        "z_r": 10,
        "n_d": 1,
        "noise": "sample",
        "seen_classifier_c": 0.1,
        "classifier_fit": "adam",
    },
)


def config(**values):
    return method.configure({**SMALL, **values})


@pytest.fixture
def members(five_tasks):
    """Members of different configurations and seeds."""
    return [Member(task, config(**c), 10 + i) for i, (task, c) in enumerate(zip(five_tasks, DIFFERENT, strict=True))]


def population(*members):
    return method.population(members, Workers(CPU))


def start_of(member):
    """A member's weights before its first step."""
    alone = population(member)
    return alone.layers.own(0, alone.layers.parameters)


def first_step(population, wanted=frozenset()):
    """The batch of a single member's first step."""
    _, rows = population.data.batches([0], population.config.batch_size)
    drawn = []
    for purpose, parts in population.parts.items():
        drawn += population._noise(purpose, parts, slice(0, population.config.batch_size)).step(0)
    return population.batch_of(rows[0], drawn, wanted)


# The losses, written once more from the equations


def reference_losses(w, z_v, x, y, noise_x, noise_y, order):
    """Own and cross reconstruction, both KL terms and Eq. 6, sample by sample. w: a member's weights."""

    def layer(z, name):
        return z @ w[name] + w[f"{name}_bias"][0]

    def posterior(hidden):
        mean, logvar = hidden.chunk(2)
        return Normal(mean, (logvar / 2).exp())

    prior = Normal(0.0, 1.0)
    own, crossed, kl_x, kl_y, latents = [], [], [], [], []
    for f_x, f_y, e_x, e_y in zip(x, y, noise_x, noise_y, strict=True):
        q_x, q_y = posterior(layer(f_x, "encoder_x")), posterior(layer(f_y, "encoder_y"))
        z_x, z_y = q_x.mean + q_x.stddev * e_x, q_y.mean + q_y.stddev * e_y
        own.append(mse_loss(layer(z_x, "decoder_x"), f_x) + mse_loss(layer(z_y, "decoder_y"), f_y))
        swapped = torch.cat([z_x[:z_v], z_y])
        crossed.append(mse_loss(layer(z_x[z_v:], "decoder_y"), f_y) + mse_loss(layer(swapped, "decoder_x"), f_x))
        kl_x.append(kl_divergence(q_x, prior).sum())
        kl_y.append(kl_divergence(q_y, prior).sum())
        latents.append(z_x)
    z_x = torch.stack(latents)
    together, altered = reference_discriminator(w, z_x), reference_discriminator(w, shuffled(z_x, z_v, order))
    correlation = together.log() + (1 - altered).log()
    return [torch.stack(v).mean() for v in (own, crossed, kl_x, kl_y)] + [correlation.mean()], z_x


def shuffled(z_x, z_v, order):
    return torch.cat([z_x[order, :z_v], z_x[:, z_v:]], dim=1)


def reference_discriminator(w, z_x):
    hidden = (z_x @ w["discriminator_1"] + w["discriminator_1_bias"]).relu()
    return (hidden @ w["discriminator_2"] + w["discriminator_2_bias"]).sigmoid()[:, 0]


def annealed(k, n, weight):
    """Eq. 13."""
    return 0.0 if k < n / 3 else 1.5 * (k / n - 1 / 3) * weight


def reference_weights(c, k, n, epoch):
    """λ1', β_x', β_y', λ2' and D_T's own at step k of n."""
    if c.annealing == "paper":
        return [(epoch > 0) * c.lambda_1, *(annealed(k, n, weight) for weight in (c.beta_x, c.beta_y, c.lambda_2)), 1.0]
    later = max(0.0, (k / n - 0.8) / 0.2) * (epoch > 1)
    first = max(0.0, (k / n - 10 / 17) * 17 / 7)
    return [(k / n > 0.8) * c.lambda_1, first * c.beta_x, later * c.beta_y, later * c.lambda_2, later * c.lambda_2]


def reference_posteriors(w, x, y):
    """Means and deviations of z_x and of z_y."""
    heads = ((f @ w[name] + w[f"{name}_bias"][0]).chunk(2, dim=1) for f, name in ((x, "encoder_x"), (y, "encoder_y")))
    return [(mean, (logvar / 2).exp()) for mean, logvar in heads]


def reference_pairs(w, z_v, x, y, draws_x, draws_y):
    """What the released code trains D_T on: (together, apart) of each modality. draws: noise and a permutation.

    It permutes both latents, each by a permutation of its own.
    """
    (mean_x, deviation_x), (mean_y, deviation_y) = reference_posteriors(w, x, y)
    z_x = mean_x + deviation_x * draws_x[0]
    beside = (mean_x + deviation_x * torch.nn.functional.pad(draws_y[0][:, :z_v], (0, mean_y.shape[1])))[:, :z_v]
    z_y = mean_y + deviation_y * draws_y[0][:, z_v:]
    pairs = []
    for v, r, order in ((z_x[:, :z_v], z_x[:, z_v:], draws_x[1]), (beside, z_y, draws_y[1])):
        of_r = torch.randperm(len(r), generator=torch.Generator().manual_seed(len(pairs)))
        pairs.append((torch.cat([v, r], dim=1), torch.cat([v[order[of_r]], r[of_r]], dim=1)))
    return pairs


def reference_fit(member, start, epochs):
    """Section 3 by autograd and torch's Adam, one model; the samples and the noise are the population's."""
    c, task = member.config, member.task
    w = {name: weight.clone().requires_grad_() for name, weight in start.items()}
    adversary = [p for n, p in w.items() if n.startswith("discriminator")]
    vae = [p for n, p in w.items() if not n.startswith("discriminator")]
    vae_adam, adversary_adam = (torch.optim.Adam(p, lr=c.learning_rate) for p in (vae, adversary))
    data, step_count = TrainingData([member], CPU), 0

    def draws_of(epoch, parts, purpose):
        widths, mine = {"z_v": c.z_v, "z_r": c.z_r}, slice(0, c.batch_size)
        single = [c.noise == "sample"]
        return EpochNoise([member.seed], [epoch], parts, [widths], single, c.batch_size, mine, CPU, purpose)

    def train_adversary(pairs, weight):
        losses = []
        for together, apart in pairs:
            guesses = torch.cat([reference_discriminator(w, z.detach()) for z in (together, apart)])
            losses.append(
                binary_cross_entropy(guesses, torch.cat([torch.ones(len(together)), torch.zeros(len(apart))]))
            )
        adversary_adam.zero_grad()
        (weight * sum(losses) / len(losses)).backward()
        adversary_adam.step()

    for epoch in range(epochs):
        _, rows = data.batches([epoch], c.batch_size)
        draws = draws_of(epoch, ("z_v", "z_r", "z_r"), "")
        fresh = [draws_of(epoch, ("z_v", "z_r"), f"discriminator {modality}") for modality in ("x", "y")]
        step_count = step_count if c.discriminator == "paper" else 0
        for step, batch in enumerate(rows[:, 0]):
            noise, order = (part[0] for part in draws.step(step))
            drawn = [[part[0] for part in one.step(step)] for one in fresh]
            noise_x, noise_y = noise.split([c.z_v + c.z_r, c.z_r], dim=1)
            x, y = task.features[batch], task.semantics[task.labels[batch]]
            lambda_1, beta_x, beta_y, lambda_2, own_weight = reference_weights(c, step, len(rows), epoch)
            step_count += 1
            due = step_count % c.n_d == 0
            if due and c.discriminator == "released":
                train_adversary(reference_pairs(w, c.z_v, x, y, *drawn), own_weight)
            terms, z_x = reference_losses(w, c.z_v, x, y, noise_x, noise_y, order)
            own, crossed, kl_x, kl_y, correlation = terms
            if c.adversary == "probability":
                correlation = reference_discriminator(w, z_x).mean()
            loss = own + beta_x * kl_x + beta_y * kl_y + lambda_1 * crossed + lambda_2 * correlation
            vae_adam.zero_grad()
            loss.backward()
            vae_adam.step()
            if due and c.discriminator == "paper":
                train_adversary([(z_x, shuffled(z_x, c.z_v, order))], own_weight)
    return {name: weight.detach() for name, weight in w.items()}


@pytest.mark.parametrize("accelerate", [True, False])
@pytest.mark.parametrize("index", range(4))
def test_a_steps_losses_and_gradients_are_those_of_the_equations(members, index, accelerate):
    member = replace(members[index], config=members[index].config.model_copy(update={"accelerate": accelerate}))
    alone = population(member)
    assert (type(alone) is AcceleratedSADVAE) == accelerate
    adversarial = member.config.alignment == "fd+tc"
    batch = first_step(alone, frozenset({"total_correlation"} if adversarial else ()))
    weights = torch.tensor([1.0, 0.7, 0.3, 0.2, 0.5 * adversarial, 1.0])[:, None]
    latent_x, latent_y = alone.encode(batch)
    terms = alone.differentiate(batch, (latent_x, latent_y), weights)[:5]
    z_v, z_r = (alone.layers.widest[part] for part in ("z_v", "z_r"))
    x, y, order = batch.x, batch.text, batch.order
    noise_x, noise_y = batch.noise.split([z_v + z_r, z_r], dim=-1)
    w = {name: weight.requires_grad_() for name, weight in start_of(member).items()}
    expected, z_x = reference_losses(w, z_v, x[0], y[0], noise_x[0], noise_y[0], order[0])
    expected = [*expected[:4], expected[4] * adversarial]
    torch.testing.assert_close(terms[:, 0], torch.stack(expected), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(latent_x.z[0], z_x)
    sum(weight * term for weight, term in zip(weights[:, 0], expected, strict=False)).backward()
    for name in alone.optimiser.parameters:
        torch.testing.assert_close(alone.layers.gradients[name][0], w[name].grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("accelerate", [True, False])
def test_output_relus_are_differentiated(members, accelerate):
    member = replace(members[0], config=config(output_relu=True, alignment="fd", accelerate=accelerate))
    alone = population(member)
    batch = first_step(alone)
    batch, x = replace(batch, noise=torch.zeros_like(batch.noise)), batch.x
    own = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])[:, None]
    alone.differentiate(batch, alone.encode(batch), own)
    w = {name: weight.requires_grad_() for name, weight in start_of(member).items()}
    z_x = (x[0] @ w["encoder_x"] + w["encoder_x_bias"]).chunk(2, dim=1)[0]
    loss = ((z_x @ w["decoder_x"] + w["decoder_x_bias"]).relu() - x[0]).square().mean()
    loss.backward()
    for name in ("encoder_x", "decoder_x", "decoder_x_bias"):
        torch.testing.assert_close(alone.layers.gradients[name][0], w[name].grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("index", "values"),
    [
        (0, {"epochs": 2}),
        (1, {"epochs": 2}),
        (1, {"epochs": 2, "discriminator": "released"}),
        (0, {"epochs": 4, "discriminator": "released", "adversary": "probability", "noise": "sample",
             "annealing": "released", "lambda_2": 0.5, "batch_size": 8}),
    ],
)  # fmt: skip
def test_epochs_are_those_of_a_textbook_loop(members, models_of, index, values):
    member = replace(members[index], config=members[index].config.model_copy(update=values))
    start = start_of(member)
    expected = reference_fit(member, start, values["epochs"])
    (model,) = models_of(method, [member])
    for name, weight in expected.items():
        torch.testing.assert_close(model.weights[name], weight, rtol=1e-3, atol=2e-5)
        assert (weight - start[name]).abs().max() > 1e-3  # all of them learned


def weights_of_epoch(population, epoch, steps):
    """(steps, 6) of a single member."""
    population.epochs = [epoch]
    return population.loss_weights([steps])[..., 0]


def test_members_at_different_epochs_have_their_own_weights(members):
    both = population(members[0], members[3])
    both.epochs = [0, 3]
    together = both.loss_weights([8, 5])
    for m, (member, epoch, count) in enumerate(((members[0], 0, 8), (members[3], 3, 5))):
        alone = weights_of_epoch(population(member), epoch, count)
        assert torch.equal(together[:count, :, m], alone)


def test_the_weights_follow_the_papers_schedule(members):
    alone = population(replace(members[0], config=config(beta_x=0.2, beta_y=0.3, lambda_1=0.9, lambda_2=0.4)))
    first, second = (weights_of_epoch(alone, epoch, 30) for epoch in range(2))
    assert not first[:11, [2, 3, 4]].any()  # k/n up to a third
    torch.testing.assert_close(first[20, [2, 3, 4]], torch.tensor([0.2, 0.3, 0.4]) / 2)  # at two thirds
    torch.testing.assert_close(first[29, 2].item(), annealed(29, 30, 0.2))
    assert first[:, 1].unique().tolist() == [0]  # λ1 in the first epoch, and after
    assert second[:, 1].unique().tolist() == pytest.approx([0.9])
    assert first[:, [0, 5]].unique().tolist() == [1]
    assert torch.equal(first[:, [2, 3, 4]], second[:, [2, 3, 4]])


def test_the_weights_follow_the_released_schedule(members):
    released = method.configure(SMALL, "released")
    count = 1700
    alone = population(replace(members[0], config=released))
    epochs = [weights_of_epoch(alone, epoch, count) for epoch in range(3)]
    i = torch.arange(count)
    beta_x = (0.1 * (i - 1000 * count / 1700) / (3000 * count / 1700)).clamp_min(0)
    beta_2 = (0.1 * (i - 0.8 * count) / (3000 * count / 1700)).clamp_min(0)
    for epoch, weights in enumerate(epochs):
        torch.testing.assert_close(weights[:, 2], beta_x, rtol=1e-3, atol=1e-6)
        for column in (3, 4, 5):  # text KL, total correlation and the discriminator's own loss; none in two epochs
            torch.testing.assert_close(weights[:, column], beta_2 * (epoch > 1), rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(weights[:, 1], (i > 0.8 * count).float())
    assert epochs[0][-1, 2].item() == pytest.approx(0.0233, abs=1e-4)
    assert epochs[2][-1, 4].item() == pytest.approx(0.0113, abs=1e-4)


@pytest.mark.parametrize("discriminator", ["paper", "released"])
@pytest.mark.parametrize("n_d", [1, 3, 7])
def test_the_discriminator_moves_every_n_d_steps(members, n_d, discriminator):
    member = replace(members[0], config=config(n_d=n_d, epochs=2, discriminator=discriminator))
    alone, moved = population(member), []
    step = alone.adversary.step

    def watched(gradients, active):
        moved.append(int(alone.optimiser.steps[0, 0]))
        step(gradients, active)

    alone.adversary.step = watched
    for epoch in range(2):
        alone.epochs = [epoch]
        alone.train_epoch()
    if discriminator == "paper":  # eight steps an epoch, counted across epochs, and after the VAEs' own
        assert moved == list(range(n_d, 17, n_d))
    else:
        assert moved == [epoch + turn - 1 for epoch in (0, 8) for turn in range(n_d, 9, n_d)]


# What is fitted on top


@pytest.mark.filterwarnings("ignore:.*output_relu")
@pytest.mark.parametrize(
    "choice",
    [{"output_relu": True}, {"classifier_relu": True}, {"adversary": "probability"}, {"discriminator": "released"}],
)
def test_each_of_the_released_choices_changes_the_scores(members, models_of, problem, choice):
    adam = [replace(members[0], config=config(classifier_fit="adam", **values)) for values in ({}, choice)]
    scores = [models_of(method, [member])[0].unseen_scores(problem.test.features) for member in adam]
    assert not torch.equal(*scores)


def test_a_seen_classifier_on_features_is_fitted_once_a_task(members, fit, monkeypatch):
    fits, on_features = [], classifiers.fit_on_features
    monkeypatch.setattr(classifiers, "fit_on_features", lambda *given: fits.append(given[-1]) or on_features(*given))
    same = [replace(members[i % 2], seed=i) for i in range(5)]
    fit(method, [*same, members[4]], evaluate=lambda m, model: {})
    assert sorted(fits) == [0.1, 1.0, 1.0]  # two tasks, and one with another penalty; not five members at four epochs


# The ablations


def test_naive_alignment_has_no_irrelevant_latent(members, models_of, problem):
    (model,) = models_of(method, [replace(members[0], config=config(alignment="naive"))])
    z_r, z_v = model.heads(problem.test.features)
    assert (z_r.shape[1], z_v.shape[1]) == (8, 0)
    assert model.weights["decoder_x"].shape == (8, 24)
    assert model.weights["encoder_x"].shape == (24, 16)


@pytest.mark.parametrize("alignment", ["fd", "naive"])
def test_without_the_penalty_the_discriminator_is_neither_trained_nor_used(members, fit, alignment):
    plain, other = (
        Member(members[0].task, config(alignment=alignment, **c), 1) for c in ({}, {"n_d": 7, "lambda_2": 9})
    )
    beside = [plain, members[1], other]
    start, group = start_of(plain), fit(method, beside)
    first, _, last = group.kept["last"].values()
    for name, weight in first.weights.items():
        torch.testing.assert_close(weight, last.weights[name], rtol=1e-3, atol=1e-4)
    assert all(torch.equal(first.weights[n], w) for n, w in start.items() if n.startswith("discriminator"))
    names = ("total_correlation", "discriminator")
    assert {epoch[m][name] for epoch in group.history for m in (0, 2) for name in names} == {0}
    assert group.history[0][1]["discriminator"] > 0


# The model


def test_it_learns(problem, models_of):
    values = {"epochs": 40, "learning_rate": 3e-3, "classifier_samples": 100, "classifier_steps": 300}
    fitted = [config(**values, classifier_learning_rate=0.02, alignment=a) for a in ("fd+tc", "fd", "naive")]
    for model in models_of(method, [Member(problem.task, c, 0) for c in fitted]):
        assert zero_shot_metrics(model, problem.test)["zsl"] > 0.8  # chance is 1/3
        seen = problem.test.where(problem.test.labels < 8)
        assert (model.seen_scores(seen.features).argmax(1) == seen.labels).double().mean() > 0.9


def test_unseen_scores_are_those_of_the_semantic_means(members, models_of, problem):
    (model,), x = models_of(method, members[:1]), problem.test.features
    z_r = model.latent(x)
    mean = x @ model.weights["encoder_x"][:, 4:12] + model.weights["encoder_x_bias"][:, 4:12]
    torch.testing.assert_close(z_r, mean)
    torch.testing.assert_close(model.unseen_scores(x), model.classifiers["unseen"].log_probabilities(mean))


def test_logits_are_preferred_where_there_are_some(members, models_of, problem):
    preferred = config(seen_classifier="logits-or-features")
    task = members[0].task
    given = Member(replace(task, logits=torch.randn(len(task.labels), 8)), preferred, 10)
    (model,), x = models_of(method, [given]), problem.test.features
    logits = torch.randn(len(x), 8)
    torch.testing.assert_close(model.given(logits).seen_scores(x), torch.log_softmax(logits, 1))
    with pytest.raises(InputError, match="seen_classifier=logits-or-features: these samples have no logits"):
        model.seen_scores(x)
    with pytest.warns(InputWarning, match="no logits, so C_s is fitted on the features"):
        (without,) = models_of(method, [Member(task, preferred, 10)])
    torch.testing.assert_close(without.seen_scores(x), models_of(method, members[:1])[0].seen_scores(x))
    for made in (model, without):
        values = {"seen": made.seen, "unseen": made.unseen, "combination": None, **made.state()[1]}
        again = type(made).from_state(made.state()[0], values)
        torch.testing.assert_close(again.given(logits).seen_scores(x), made.given(logits).seen_scores(x))


# Hyperparameters

TABLES = {  # 2, 5 and F: learning rate, n_d, z_r, z_v, batch size
    "ntu60-synse": (3.39e-5, 5, 160, 8, 32),
    "ntu120-synse": (3.48e-5, 4, 256, 32, 32),
    "ntu60-random": (3.60e-5, 7, 224, 16, 32),
    "ntu120-random": (7.36e-5, 12, 176, 20, 32),
    "pku51-random": (3.07e-5, 2, 128, 16, 64),
    "ntu60-llm": (4.94e-5, 4, 96, 8, 32),
    "ntu120-llm": (2.13e-5, 16, 304, 12, 24),
}


@pytest.mark.parametrize("preset", TABLES)
def test_presets_are_the_papers_tables(preset):
    c = method.configure({}, preset)
    assert (c.learning_rate, c.n_d, c.z_r, c.z_v, c.batch_size) == TABLES[preset]
    assert (c.epochs, c.beta_x, c.beta_y, c.lambda_1, c.lambda_2) == (10, 0.023, 0.011, 1, 0.011)
    assert (c.alignment, c.annealing, c.seen_classifier, c.combination) == ("fd+tc", "paper", "features", "soft")


def test_the_defaults_are_table_2_for_ntu_60():
    assert SADVAEConfig() == method.configure({}, "ntu60-synse")
    assert set(method.presets) == {*TABLES, "released", "papers-gate"}
    assert SADVAEConfig().classifier_fit == "penalised"


def test_the_released_codes_choices_go_with_any_tables_values():
    c = method.configure({}, "ntu120-synse+released")
    assert (c.z_r, c.n_d, c.adversary, c.discriminator, c.annealing) == (256, 4, "probability", "released", "released")
    assert (c.noise, c.output_relu, c.classifier_relu, c.combination) == ("sample", True, True, "hard")
    assert (c.seen_classifier, c.classifier_fit) == ("logits-or-features", "adam")


def test_a_relu_on_the_classifiers_logits_wants_adam(members):
    with pytest.raises(InputError, match=r"classifier_relu=true: .* must be with classifier_fit=adam"):
        population(Member(members[0].task, config(classifier_relu=True), 0))
