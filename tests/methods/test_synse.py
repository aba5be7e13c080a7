from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from methods.synse import SynSEConfig, method
from platform.errors import InputError
from platform.learning.stated import StatedPopulation
from platform.learning.training_data import TrainingData
from platform.method import PAPERS_GATE, Member
from platform.population.noise import EpochNoise
from platform.training import protocols
from platform.training.evaluation import all_metrics, zero_shot_metrics
from platform.training.protocols import Candidate, ProtocolOptions, TrainingContext, validate
from platform.workers import Workers
from platform.zeroshot.gate import Stacking

CPU = torch.device("cpu")
EPOCHS = 3
SMALL = {"epochs": EPOCHS, "z_s": 8, "learning_rate": 2e-3, "batch_size": 16, "cycle": 12, "beta_start": 5}
SMALL |= {"beta_y_start": 5, "alpha_start": 8, "classifier_samples": 20, "classifier_steps": 30, "joint_samples": 10}
CODE = {"reconstruction": "mean", "beta_y_start": 8, "beta_y_first_cycle": 1, "noise": "sample", "output_relu": True}
DIFFERENT = (  # whatever members of one population may differ in
    {},
    {"z_s": 12, "cycle": 9, "alpha_start": 4, "alpha": 0.4, "learning_rate": 5e-3, "beta_rate": 0.05},
    {**CODE, "z_s": 4, "classifier_relu": True, "classifier_fit": "adam", "classifier_samples": 10},
    {"noise": "sample", "beta_start": 2, "combination": "joint", "classifier_steps": 20},
    {**CODE, "noise": "dimension", "z_s": 10, "cycle": 15, "combination": "joint", "joint_samples": 7},
)


def config(**values):
    return method.configure({**SMALL, **values})


def with_two_texts(task):
    """With a verb's and a noun's vector for each class, the one twice as long as the other."""
    return replace(task, semantics=torch.cat([task.semantics, task.semantics / 2], dim=1))


@pytest.fixture
def problem(problem):
    return replace(problem, task=with_two_texts(problem.task))


@pytest.fixture
def members(five_tasks):
    """Members of different configurations and seeds."""
    spoken = {id(t): with_two_texts(t) for t in five_tasks}
    tasks = [spoken[id(t)] for t in five_tasks]
    return [Member(task, config(**c), 10 + i) for i, (task, c) in enumerate(zip(tasks, DIFFERENT, strict=True))]


def population(*members):
    return method.population(members, Workers(CPU))


def start_of(member):
    """A member's weights before its first step."""
    alone = population(member)
    return alone.layers.own(0, alone.layers.parameters)


# The losses, written once more from the equations


def reference_losses(w, c, x, y, noise):
    """The terms of Eq. 2 and 3, sample by sample. w: a member's weights; noise: (batch, 2·z_s)."""
    parts = ("verb", "noun") if c.parts == "verb+noun" else ("text",)
    z = c.z_s // len(parts)
    prior = Normal(0.0, 1.0)

    def layer(inputs, name):
        out = inputs @ w[name] + w[f"{name}_bias"][0]
        return out.relu() if c.output_relu and name.startswith("decoder") else out

    def posterior(inputs, name):
        mean, logvar = layer(inputs, name).chunk(2)
        return Normal(mean, (logvar / 2).exp())

    def error(guess, truth):
        squares = (guess - truth).square()
        return squares.sum() if c.reconstruction == "sum" else squares.mean()

    own, crossed, kl_s, kl_y = [], [], [], []
    for x_s, text, e in zip(x, y, noise, strict=True):
        embeddings = [part / part.norm() for part in text.chunk(len(parts))]
        q_s = posterior(x_s, "encoder_s")
        z_s = q_s.mean + q_s.stddev * e[: c.z_s]
        q_y = [posterior(e_m, f"encoder_{m}") for e_m, m in zip(embeddings, parts, strict=True)]
        z_y = [q.mean + q.stddev * own_e for q, own_e in zip(q_y, e[c.z_s :].split(z), strict=True)]
        z_l = torch.cat(z_y)
        named = list(zip(parts, embeddings, z_y, z_s.split(z), strict=True))
        own.append(
            error(layer(z_s, "decoder_s"), x_s)
            + sum(error(layer(z_m, f"decoder_{m}"), e_m) for m, e_m, z_m, _ in named)
        )
        crossed.append(
            error(layer(z_l, "decoder_s"), x_s)
            + sum(error(layer(z_s_m, f"decoder_{m}"), e_m) for m, e_m, _, z_s_m in named)
        )
        kl_s.append(kl_divergence(q_s, prior).sum())
        kl_y.append(sum(kl_divergence(q, prior).sum() for q in q_y))
    return [torch.stack(terms).mean() for terms in (own, crossed, kl_s, kl_y)]


def reference_fit(member, start, epochs):
    """Section 2.6 by autograd and torch's Adam, one model; the samples and the noise are the population's."""
    c, task = member.config, member.task
    w = {name: weight.clone().requires_grad_() for name, weight in start.items()}
    adam, data, widths = (
        torch.optim.Adam(w.values(), lr=c.learning_rate),
        TrainingData([member], CPU),
        {"z": c.z_s // 2},
    )
    for cycle in range(epochs):
        _, rows = data.batches([cycle], c.batch_size, [c.cycle])
        whole, single = slice(0, c.batch_size), c.noise == "sample"
        draws = EpochNoise([member.seed], [cycle], (("z", "z"), "z", "z"), [widths], [single], c.batch_size, whole, CPU)
        for t, batch in enumerate(rows[:, 0]):
            x, y = task.features[batch], task.semantics[task.labels[batch]]
            own, crossed, kl_s, kl_y = reference_losses(w, c, x, y, draws.step(t)[0][0])
            beta_s = max(0.0, c.beta_rate * (t - c.beta_start))
            beta_y = max(0.0, c.beta_rate * (t - c.beta_y_start)) if cycle >= c.beta_y_first_cycle else 0.0
            alpha = c.alpha if t > c.alpha_start else 0.0
            adam.zero_grad()
            (own + alpha * crossed + beta_s * kl_s + beta_y * kl_y).backward()
            adam.step()
    return {name: weight.detach() for name, weight in w.items()}


@pytest.mark.parametrize("values", [{}, {"output_relu": True}, {"reconstruction": "mean"}, {"parts": "single"}, CODE])
@pytest.mark.parametrize("crossing", [True, False])
@pytest.mark.parametrize("accelerate", [True, False])
def test_a_steps_losses_and_gradients_are_those_of_the_equations(members, values, crossing, accelerate):
    member = replace(members[0], config=config(**values, accelerate=accelerate))
    alone = population(member)
    _, rows = alone.data.batches([0], 16, [12])
    drawn = alone._noise("", alone.parts[""], slice(0, 16)).step(0)
    weights = torch.tensor([1.0, 0.7 * crossing, 0.3, 0.2])[:, None]
    wanted = frozenset({"cross_reconstruction"} if crossing else ())
    batch, noise = alone.batch_of(rows[0], drawn, wanted), drawn[0]
    terms = alone.differentiate(batch, alone.encode(batch), weights)[:, 0]
    w = {name: weight.requires_grad_() for name, weight in start_of(member).items()}
    x, y = member.task.features[rows[0, 0]], member.task.semantics[member.task.labels[rows[0, 0]]]
    own, crossed, kl_s, kl_y = reference_losses(w, member.config, x, y, noise[0])
    torch.testing.assert_close(terms, torch.stack([own, crossed * crossing, kl_s, kl_y]), rtol=1e-5, atol=1e-5)
    (own + 0.7 * crossing * crossed + 0.3 * kl_s + 0.2 * kl_y).backward()
    for name, gradient in alone.layers.gradients.items():
        torch.testing.assert_close(gradient[0], w[name].grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_two_cycles_are_those_of_a_textbook_loop(models_of, members, index):
    member = replace(members[index], config=members[index].config.model_copy(update={"epochs": 2}))
    expected = reference_fit(member, start_of(member), 2)
    (model,) = models_of(method, [member])
    for name, weight in expected.items():
        torch.testing.assert_close(model.weights[name], weight, rtol=1e-3, atol=2e-5)


# Annealing


def weights_of_cycle(task, cycle, preset):
    """(cycle, 3) α and both β of a single member."""
    alone = StatedPopulation(method, [Member(task, method.configure({}, preset), 0)], Workers(CPU))
    alone.epochs = [cycle]
    return alone.loss_weights([alone.config.cycle])[:, 1:, 0]


@pytest.mark.parametrize(("preset", "cycle", "on"), [("ntu60-55_5", 1700, 1400), ("ntu120-96_24", 1900, 1500)])
def test_every_cycle_follows_the_papers_schedule(problem, preset, cycle, on):
    first, later = (weights_of_cycle(problem.task, epoch, preset) for epoch in (0, 7))
    assert torch.equal(first, later)
    assert len(first) == cycle
    assert first[:, 0].nonzero().flatten().tolist() == list(range(on + 1, cycle))
    assert first[-1, 0] == 1
    for column in (1, 2):
        assert not first[:1001, column].any()
        torch.testing.assert_close(first[1001:, column].diff(), torch.full((cycle - 1002,), 0.0021), rtol=1e-3, atol=0)
        assert first[1001, column].item() == pytest.approx(0.0021)


@pytest.mark.parametrize(("split", "cycle", "on"), [("ntu60-55_5", 1700, 1400), ("ntu120-110_10", 1900, 1500)])
def test_every_cycle_follows_the_released_schedule(problem, split, cycle, on):
    t = torch.arange(cycle)
    cycles = [weights_of_cycle(problem.task, epoch, f"released-{split}") for epoch in range(4)]
    for epoch, weights in enumerate(cycles):
        assert torch.equal(weights[:, 0], (t > on).float())
        torch.testing.assert_close(weights[:, 1], (0.1 * (t - 1000) / 3000).clamp_min(0))
        torch.testing.assert_close(weights[:, 2], (0.1 * (t - on) / 3000).clamp_min(0) * (epoch > 1))
    assert cycles[0][-1, 1].item() == pytest.approx({1700: 0.0233, 1900: 0.03}[cycle], abs=1e-4)


def test_members_at_different_cycles_have_their_own_weights(members):
    both = population(members[1], members[2])
    both.epochs = [2, 0]
    together = both.loss_weights([9, 12])[:, 1:]
    assert together.shape == (12, 3, 2)
    assert not together[9:, :, 0].any()  # the shorter cycle is over
    for m, (member, epoch) in enumerate(((members[1], 2), (members[2], 0))):
        alone = population(member)
        alone.epochs = [epoch]
        assert torch.equal(together[: member.config.cycle, :, m], alone.loss_weights([member.config.cycle])[:, 1:, 0])


def test_what_is_not_reconstructed_yet_is_not_counted(fit, members):
    history = fit(method, [replace(members[0], config=config(alpha=0.0)), members[0]]).history
    assert [epoch[0]["cross_reconstruction"] for epoch in history] == [0, 0, 0]
    assert all(epoch[1]["cross_reconstruction"] > 0 for epoch in history)


# The model


@pytest.mark.parametrize(
    "values", [{}, {"parts": "single"}, {**CODE, "beta_rate": 1e-4}], ids=["paper", "single", "code"]
)
def test_it_learns(models_of, problem, values):
    if "output_relu" in values:  # whose decoders give nothing negative
        task, test = (replace(p, features=p.features + 5) for p in (problem.task, problem.test))
        problem = replace(problem, task=task, test=test)
    schedule = {"epochs": 3, "cycle": 400, "beta_start": 200, "alpha_start": 250, "beta_y_start": 200}
    classifier = {"classifier_samples": 100}
    (model,) = models_of(
        method, [Member(problem.task, config(learning_rate=3e-3, **{**values, **schedule, **classifier}), 0)]
    )
    assert zero_shot_metrics(model, problem.test)["zsl"] > 0.8  # chance is 1/3
    seen = problem.test.where(problem.test.labels < 8)
    assert (model.seen_scores(seen.features).argmax(1) == seen.labels).double().mean() > 0.9


def test_the_skeleton_latents_halves_hold_the_verb_and_the_noun(models_of, problem):
    verbs = problem.task.semantics[:, :16]
    nouns = -verbs.flip(1)  # another vector, of which the features are linear too
    task = replace(problem.task, semantics=torch.cat([verbs, nouns], dim=1))
    values = {"learning_rate": 3e-3, "beta_rate": 1e-4, "cycle": 400, "alpha_start": 250}
    (model,) = models_of(method, [Member(task, config(**values), 0)])
    halves = model.latent(task.features).split(4, dim=1)
    for half, part, texts in zip(halves, ("verb", "noun"), (verbs, nouns), strict=True):
        spoken = half @ model.weights[f"decoder_{part}"] + model.weights[f"decoder_{part}_bias"]
        guesses = torch.cdist(spoken, texts[:8]).argmin(dim=1)
        assert (guesses == task.labels).double().mean() > 0.9


@pytest.fixture
def model(members, models_of):
    return models_of(method, members[:1])[0]


@pytest.fixture
def joint(members, models_of):
    return models_of(method, [members[3]])[0]


def test_unseen_scores_are_those_of_the_skeletons_means(model, problem):
    x = problem.test.features
    mean = x @ model.weights["encoder_s"][:, :8] + model.weights["encoder_s_bias"][:, :8]
    torch.testing.assert_close(model.latent(x), mean)
    torch.testing.assert_close(model.unseen_scores(x), model.classifiers["unseen"].log_probabilities(mean))


# Without a gate


def test_the_joint_classifier_is_one_distribution_over_all_classes(model, joint, problem):
    x = problem.test.features
    seen, unseen = joint.sides(x)
    assert (seen.shape, unseen.shape) == ((len(x), 8), (len(x), 2))
    torch.testing.assert_close(torch.cat([seen, unseen], 1).exp().sum(1), torch.ones(len(x)))
    assert not torch.allclose(unseen, joint.unseen_scores(x))  # f_u knows the unseen classes alone
    for side, own in zip(model.sides(x), (model.seen_scores(x), model.unseen_scores(x)), strict=True):
        assert torch.equal(side, own)


def test_the_joint_classifier_learns_seen_classes_from_skeletons_and_unseen_ones_from_text(models_of, problem):
    schedule = {"cycle": 400, "beta_start": 200, "alpha_start": 250, "beta_y_start": 200, "learning_rate": 3e-3}
    fitted = config(combination="joint", joint_samples=50, classifier_samples=50, **schedule)
    (model,) = models_of(method, [Member(problem.task, fitted, 0)])
    metrics = all_metrics(model.joined_by(Stacking(0.0)), problem.test)
    assert metrics["seen"] > 0.8
    latent = model.kept["seen_latents"].mean(dim=1)  # of each seen class, near the latents of its skeletons
    means = model.latent(problem.task.features)
    own = torch.stack([means[problem.task.labels == c].mean(0) for c in range(8)])
    assert (torch.cdist(latent, own).argmin(1) == torch.arange(8)).all()
    generated = model.generated().flatten(0, 1)
    guesses = model.classifiers["joint"].log_probabilities(generated).argmax(1)
    assert (guesses == 8 + torch.arange(3).repeat_interleave(50)).double().mean() > 0.8


def test_a_protocol_joins_the_joint_scores_as_they_are(problem):
    candidates = [Candidate(config(combination=kind), 0, "ru3") for kind in ("joint", "hard", "soft")]
    candidates.append(Candidate(config(combination="hard", temperature_scaling=False), 0, "ru3"))
    options, context = ProtocolOptions(protocols=("clean",)), TrainingContext(CPU)
    found = [validate(method, {"ru3": problem}, {"0": c.config}, [0], options, context)["0"][0] for c in candidates]
    joint, hard, soft, plain = (validation.combination for validation in found)
    assert joint == Stacking(0.0)
    assert (hard.kind, soft.kind, plain.kind, plain.temperature) == ("hard", "soft", "hard", 1.0)
    results = protocols.refit_and_test(method, {"ru3": problem}, candidates, found, options, context)
    x = problem.test.features
    model = results[0].models["clean"]
    assert torch.equal(model.scores(x), torch.cat(model.sides(x), dim=1))
    assert results[0].metrics["clean"]["zsl"] == pytest.approx(zero_shot_metrics(model, problem.test)["zsl"])


# Hyperparameters

PAPER = {  # Section 2.6: z_s, cycle, alpha_start
    "ntu60-55_5": (100, 1700, 1400),
    "ntu60-48_12": (200, 1700, 1400),
    "ntu120-110_10": (200, 1900, 1500),
    "ntu120-96_24": (200, 1900, 1500),
}
RELEASED = PAPER | {"ntu60-48_12": (100, 1900, 1500)}


@pytest.mark.parametrize("split", PAPER)
def test_presets_are_the_papers_and_the_codes(split):
    paper, code = method.configure({}, split), method.configure({}, f"released-{split}")
    for c, expected in ((paper, PAPER[split]), (code, RELEASED[split])):
        assert (c.z_s, c.cycle, c.alpha_start) == expected
        assert (c.learning_rate, c.batch_size, c.alpha, c.epochs) == (1e-4, 64, 1, 10)
        assert (c.classifier_samples, c.classifier_steps, c.classifier_learning_rate) == (500, 300, 1e-3)
        assert c.classifier_fit == "adam"
        assert (c.combination, c.temperature_scaling, c.seen_classifier) == ("hard", True, "logits")
    assert code.beta_y_start == code.alpha_start
    assert set(method.presets) == {*PAPER, *(f"released-{name}" for name in PAPER)}


def test_the_defaults_are_the_papers_for_ntu_60():
    ours = {"seen_classifier", "classifier_fit", *PAPERS_GATE, "combination", "gate_balanced", "gate_chosen_by"}
    papers, default = (c.model_dump() for c in (method.configure({}, "ntu60-55_5"), SynSEConfig()))
    assert {name for name, value in papers.items() if value != default[name]} == ours


@pytest.mark.parametrize(
    ("values", "message"),
    [({"alpha_start": 11}, "a cycle of 12 steps ends before it; must be below 11"), ({}, "31 dimensions")],
)
def test_what_cannot_be_trained_is_refused(problem, values, message):
    semantics = problem.task.semantics if values else problem.task.semantics[:, 1:]
    with pytest.raises(InputError, match=message):
        population(Member(replace(problem.task, semantics=semantics), config(**values), 0))


def test_odd_latents_have_no_halves():
    with pytest.raises(InputError, match=r"z_s=7: .*multiple of 2"):
        config(z_s=7)


def test_a_relu_on_the_classifiers_logits_wants_adam(problem):
    with pytest.raises(InputError, match=r"classifier_relu=true: .* must be with classifier_fit=adam"):
        population(Member(problem.task, config(classifier_relu=True), 0))
