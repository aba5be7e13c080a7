from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from training_loop import fitted_until

from methods.synse import SynSEConfig, method
from platform.errors import InputError
from platform.learning.stated import StatedPopulation
from platform.learning.training_data import TrainingData
from platform.method import PAPERS_GATE, Member
from platform.population.noise import EpochNoise
from platform.search.space import read_space
from platform.training import protocols
from platform.training.evaluation import all_metrics, zero_shot_metrics
from platform.training.fitting import Fitting, TrainingGroup, best_epoch, chosen_epoch
from platform.training.protocols import Candidate, ProtocolOptions, TrainingContext, validate
from platform.training.saved_models import load_model, save_model
from platform.workers import Workers
from platform.zeroshot.gate import Gate, Stacking

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


@pytest.fixture
def make_spoken(make_problem):
    """As `make_problem`, with a verb's and a noun's vector for each class, the one twice as long as the other."""

    def make(samples=30, seed=0):
        problem = make_problem(samples, seed)
        semantics = problem.task.semantics
        return replace(problem, task=replace(problem.task, semantics=torch.cat([semantics, semantics / 2], dim=1)))

    return make


@pytest.fixture
def problem(make_spoken):
    return make_spoken()


@pytest.fixture
def members(make_spoken):
    """Members of different configurations and seeds, on tasks with other counts of samples and unseen classes."""
    long, short, other = (make_spoken(count, seed).task for seed, count in enumerate((30, 17, 24)))
    short = replace(short, unseen=short.unseen[:2], semantics=short.semantics[:-1])
    tasks = [long, short, long, short, other]
    return [Member(task, config(**c), 10 + i) for i, (task, c) in enumerate(zip(tasks, DIFFERENT, strict=True))]


def training_group_of(members, evaluate=None, selections=None):
    last = members[0].config.epochs - 1
    return TrainingGroup("all", members, last, evaluate, selections or {"last": chosen_epoch([last] * len(members))})


def fit(members, evaluate=None, selections=None, **options):
    """A training group of the members that has ended; its `last` models are those after the last epoch."""
    group = training_group_of(members, evaluate, selections)
    Fitting(method, [group], Workers(CPU), **options).fit()
    return group


def last_of(members):
    return list(fit(members).kept["last"].values())


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
    batch, noise = alone.batch_of(rows[0], drawn), drawn[0]
    wanted = frozenset({"cross_reconstruction"} if crossing else ())
    terms = alone.differentiate(batch, alone.encode(batch), weights, wanted)[:, 0]
    w = {name: weight.requires_grad_() for name, weight in start_of(member).items()}
    x, y = member.task.features[rows[0, 0]], member.task.semantics[member.task.labels[rows[0, 0]]]
    own, crossed, kl_s, kl_y = reference_losses(w, member.config, x, y, noise[0])
    torch.testing.assert_close(terms, torch.stack([own, crossed * crossing, kl_s, kl_y]), rtol=1e-5, atol=1e-5)
    (own + 0.7 * crossing * crossed + 0.3 * kl_s + 0.2 * kl_y).backward()
    for name, gradient in alone.layers.gradients.items():
        torch.testing.assert_close(gradient[0], w[name].grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_two_cycles_are_those_of_a_textbook_loop(members, index):
    member = replace(members[index], config=members[index].config.model_copy(update={"epochs": 2}))
    expected = reference_fit(member, start_of(member), 2)
    (model,) = last_of([member])
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


def test_what_is_not_reconstructed_yet_is_not_counted(members):
    history = fit([replace(members[0], config=config(alpha=0.0)), members[0]]).history
    assert [epoch[0]["cross_reconstruction"] for epoch in history] == [0, 0, 0]
    assert all(epoch[1]["cross_reconstruction"] > 0 for epoch in history)


# Populations


def test_each_member_of_a_population_equals_the_same_configuration_alone(members, problem):
    together = fit(members)
    for m, member in enumerate(members):
        alone = fit([member])
        assert_same(together.kept["last"][m], alone.kept["last"][0], problem.test.features)
        for epoch in range(EPOCHS):
            assert together.history[epoch][m] == pytest.approx(alone.history[epoch][0], rel=1e-3, abs=1e-5)


def test_a_member_goes_on_in_other_company_as_if_left_alone(members, problem):
    alone, states = fit([members[1]]), []
    first = replace(members[1], config=members[1].config.model_copy(update={"epochs": 1}))

    class Stop:
        device, rank, world_size = CPU, 0, 1

        def epoch_end(self, losses, models, state):
            states.extend(state([1]))
            return False

        def average(self, gradients):
            return gradients

    fitted_until(method, [members[0], members[1]], Stop())
    going_on = replace(first, state=states[0])

    class Until(Stop):
        left, model = EPOCHS - 1, None

        def epoch_end(self, losses, models, state):
            self.left -= 1
            self.model = models([1])[0]
            return self.left > 0

    run = Until()
    fitted_until(method, [members[4], going_on, members[2]], run)
    assert_same(run.model, alone.kept["last"][0], problem.test.features)


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
    assert not torch.allclose(first.weights["encoder_s"], other.weights["encoder_s"], atol=1e-3)


class Cut(Exception):
    """A kill."""


def test_a_fit_cut_off_after_any_epoch_ends_with_the_same_numbers(members, make_spoken, tmp_path):
    samples = make_spoken().test

    def evaluate(m, model):
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
    "values", [{}, {"parts": "single"}, {**CODE, "beta_rate": 1e-4}], ids=["paper", "single", "code"]
)
def test_it_learns(make_spoken, values):
    problem = make_spoken()
    if "output_relu" in values:  # whose decoders give nothing negative
        task, test = (replace(p, features=p.features + 5) for p in (problem.task, problem.test))
        problem = replace(problem, task=task, test=test)
    schedule = {"epochs": 3, "cycle": 400, "beta_start": 200, "alpha_start": 250, "beta_y_start": 200}
    classifier = {"classifier_samples": 100}
    (model,) = last_of([Member(problem.task, config(learning_rate=3e-3, **{**values, **schedule, **classifier}), 0)])
    assert zero_shot_metrics(model, problem.test)["zsl"] > 0.8  # chance is 1/3
    seen = problem.test.where(problem.test.labels < 8)
    assert (model.seen_scores(seen.features).argmax(1) == seen.labels).double().mean() > 0.9


def test_the_skeleton_latents_halves_hold_the_verb_and_the_noun(problem):
    verbs = problem.task.semantics[:, :16]
    nouns = -verbs.flip(1)  # another vector, of which the features are linear too
    task = replace(problem.task, semantics=torch.cat([verbs, nouns], dim=1))
    values = {"learning_rate": 3e-3, "beta_rate": 1e-4, "cycle": 400, "alpha_start": 250}
    (model,) = last_of([Member(task, config(**values), 0)])
    halves = model.latent(task.features).split(4, dim=1)
    for half, part, texts in zip(halves, ("verb", "noun"), (verbs, nouns), strict=True):
        spoken = half @ model.weights[f"decoder_{part}"] + model.weights[f"decoder_{part}_bias"]
        guesses = torch.cdist(spoken, texts[:8]).argmin(dim=1)
        assert (guesses == task.labels).double().mean() > 0.9


@pytest.fixture
def model(members):
    return last_of([members[0]])[0]


@pytest.fixture
def joint(members):
    return last_of([members[3]])[0]


def test_scores_are_log_probabilities_of_the_skeletons_means(model, problem):
    x = problem.test.features
    for scores in (model.unseen_scores(x), model.seen_scores(x)):
        torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(x)))
    mean = x @ model.weights["encoder_s"][:, :8] + model.weights["encoder_s_bias"][:, :8]
    torch.testing.assert_close(model.latent(x), mean)
    torch.testing.assert_close(model.unseen_scores(x), model.classifiers["unseen"].log_probabilities(mean))


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
    for count in (2, 5):
        names = tuple(f"new {i}" for i in range(count))
        renamed = joined.with_classes(names, problem.task.semantics[:count].double())
        assert renamed.unseen == names
        assert renamed.unseen_scores(x).shape == (len(x), count)
        assert renamed.scores(x).shape == (len(x), 8 + count)
        assert torch.equal(renamed.seen_scores(x), model.seen_scores(x))


@pytest.mark.parametrize("shape", [(3, 16), (3, 33), (32,)])
def test_semantics_of_another_encoder_are_refused(model, shape):
    with pytest.raises(InputError, match=r"expected \(classes, 32\)"):
        model.with_classes(["a", "b", "c"], torch.zeros(shape))


def test_a_saved_model_gives_the_same_scores(members, problem, tmp_path):
    x = problem.test.features
    for m, model in enumerate(last_of(members)):
        joined = model.joined_by(Stacking(0.5))
        save_model("methods.synse", joined, tmp_path / str(m), {})
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
    assert not torch.allclose(unseen, joint.unseen_scores(x))  # f_u knows the unseen classes alone
    for side, own in zip(model.sides(x), (model.seen_scores(x), model.unseen_scores(x)), strict=True):
        assert torch.equal(side, own)


def test_the_joint_classifier_learns_seen_classes_from_skeletons_and_unseen_ones_from_text(problem):
    schedule = {"cycle": 400, "beta_start": 200, "alpha_start": 250, "beta_y_start": 200, "learning_rate": 3e-3}
    fitted = config(combination="joint", joint_samples=50, classifier_samples=50, **schedule)
    (model,) = last_of([Member(problem.task, fitted, 0)])
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
    ours = {"seen_classifier", "classifier_fit", *PAPERS_GATE, "combination", "gate_balanced"}
    papers, default = (c.model_dump() for c in (method.configure({}, "ntu60-55_5"), SynSEConfig()))
    assert {name for name, value in papers.items() if value != default[name]} == ours


def test_every_field_says_what_it_is():
    assert all(field.description for field in SynSEConfig.model_fields.values())
    assert set(method.pack_by) <= set(SynSEConfig.model_fields)


@pytest.mark.parametrize(
    ("values", "message"),
    [({"alpha_start": 11}, "a cycle of 12 steps ends before it; must be below 11"), ({}, "31 dimensions")],
)
def test_what_cannot_be_trained_is_refused(problem, values, message):
    semantics = problem.task.semantics if values else problem.task.semantics[:, 1:]
    with pytest.raises(InputError, match=message):
        fit([Member(replace(problem.task, semantics=semantics), config(**values), 0)])


def test_odd_latents_have_no_halves():
    with pytest.raises(InputError, match=r"z_s=7: .*multiple of 2"):
        config(z_s=7)


@pytest.mark.parametrize("name", ["synse", "synse_small"])
def test_its_search_spaces_can_be_read(name):
    folder = Path(__file__).parents[2] / "search_spaces"
    assert read_space(folder / f"{name}.yaml", SynSEConfig).stages


def test_a_relu_on_the_classifiers_logits_wants_adam(problem):
    with pytest.raises(InputError, match=r"classifier_relu=true: .* must be with classifier_fit=adam"):
        fit([Member(problem.task, config(classifier_relu=True), 0)])
