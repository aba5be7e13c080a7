from dataclasses import replace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy, cross_entropy, mse_loss
from training_loop import differentiated

from methods.revise import ReViSEConfig, method, squared_discrepancy
from platform.errors import InputError
from platform.learning.training_data import TrainingData
from platform.method import Member
from platform.training import protocols
from platform.training.evaluation import all_metrics, zero_shot_metrics
from platform.training.protocols import Candidate, ProtocolOptions, TrainingContext, validate
from platform.workers import Workers
from platform.zeroshot.gate import Gate, Stacking

CPU = torch.device("cpu")
EPOCHS = 4
SMALL = {"epochs": EPOCHS, "batch_size": 16, "learning_rate": 2e-3, "code": 12, "shared": 6, "hidden": 14, "kappa": 0.2}
DIFFERENT = (  # whatever members of one population may differ in
    {},
    {"code": 17, "shared": 4, "hidden": 9, "association": "softmax", "learning_rate": 5e-3, "kappa": 0.5},
    {"association": "binary", "text_decay": 0.1, "contraction": 0.02, "margin": 1.0},
    {"negatives": "fixed", "output_relu": True, "log_features": True, "reconstruction": 0.5, "discrepancy": 3.0},
    {"margin": 2.0, "seen_classifier": "compatibility", "combination": "joint", "contraction": 0.5, "hidden": 30},
)


def config(**values):
    return method.configure({**SMALL, **values})


def positive(task):
    return replace(task, features=task.features + 6)


@pytest.fixture
def members(make_problem):
    """Members of different configurations and seeds, on tasks with other counts of samples and of classes."""
    long, short, other = (positive(make_problem(count, seed).task) for seed, count in enumerate((30, 17, 24)))
    kept = short.labels < 6  # two seen classes fewer, and one unseen class
    short = replace(
        short,
        seen=short.seen[:6],
        unseen=short.unseen[:2],
        features=short.features[kept],
        labels=short.labels[kept],
        semantics=torch.cat([short.semantics[:6], short.semantics[8:10]]),
    )
    tasks = [long, short, long, short, other]
    return [Member(task, config(**c), 10 + i) for i, (task, c) in enumerate(zip(tasks, DIFFERENT, strict=True))]


def population(*members):
    return method.population(members, Workers(CPU))


def start_of(member):
    """A member's weights before its first step."""
    alone = population(member)
    return alone.layers.own(0, alone.layers.parameters)


# The losses, written once more from the equations


def layer(w, name, inputs):
    return inputs @ w[name] + w[f"{name}_bias"][0]


def encoded(w, f_x, f_y):
    """Codes of features and of text."""
    return layer(w, "encoder_x", f_x).relu(), layer(w, "encoder_y_2", layer(w, "encoder_y_1", f_y).relu()).relu()


def reference_losses(w, c, task, rows):
    """Association, reconstruction, contraction and MMD², sample by sample or pair by pair. w: a member's weights."""
    x, labels = task.features[rows], task.labels[rows]
    x = (1 + x).log() if c.log_features else x
    classes = task.semantics[: len(task.seen)]
    association, errors, contraction, codes = [], [], [], []
    _, code_of_classes = encoded(w, x[0], classes)
    places = layer(w, "shared_y", code_of_classes).tanh()
    for f_x, label in zip(x, labels, strict=True):
        f_y = task.semantics[label]
        code_x, code_y = encoded(w, f_x, f_y)
        decoded = layer(w, "decoder_x", code_x), layer(w, "decoder_y_2", layer(w, "decoder_y_1", code_y).relu())
        decoded = [d.relu() for d in decoded] if c.output_relu else decoded
        errors.append(mse_loss(decoded[0], f_x) + mse_loss(decoded[1], f_y))
        jacobian = torch.autograd.functional.jacobian(lambda f: encoded(w, f, classes)[0], f_x, create_graph=True)
        contraction.append(jacobian.square().sum())
        others = places.detach() if c.negatives == "fixed" else places
        own = torch.arange(len(classes)) == label
        scores = layer(w, "shared_x", code_x).tanh() @ torch.where(own[:, None], places, others).T
        if c.association == "hinge":
            association.append(sum((c.margin + s - scores[label]).clamp_min(0) for s in scores[~own]))
            if c.negatives == "fixed":  # the own class's term of the released code's sum, without its constant value
                among_others = layer(w, "shared_x", code_x).tanh() @ others[label]
                association[-1] += (c.margin + among_others - scores[label]).clamp_min(0) - c.margin
        elif c.association == "binary":
            association.append(binary_cross_entropy(scores.sigmoid(), own.float(), reduction="sum"))
        else:
            association.append(cross_entropy(scores[None], label[None]))
        codes.append((code_x, code_y))
    discrepancy = 0.0
    for h_x, h_y in codes:
        for other_x, other_y in codes:
            pairs = [(h_x, other_x, 1), (h_y, other_y, 1), (h_x, other_y, -1), (h_y, other_x, -1)]
            discrepancy += sum(sign * (-c.kappa * (a - b).square().sum()).exp() for a, b, sign in pairs)
    means = [torch.stack(terms).mean() for terms in (association, errors, contraction)]
    return [*means, discrepancy / len(codes) ** 2]


def weighted(c, terms):
    weights = (1.0, c.reconstruction, c.contraction, c.discrepancy)
    return sum(weight * term for weight, term in zip(weights, terms, strict=True))


def reference_fit(member, start, epochs):
    """By autograd and torch's Adam with weight decay, one model; the samples are the population's."""
    c = member.config
    w = {name: weight.clone().requires_grad_() for name, weight in start.items()}
    text = [p for n, p in w.items() if "_y" in n]
    groups = [{"params": [p for n, p in w.items() if "_y" not in n]}, {"params": text, "weight_decay": c.text_decay}]
    adam, data = torch.optim.Adam(groups, lr=c.learning_rate), TrainingData([member], CPU)
    for epoch in range(epochs):
        for rows in data.batches([epoch], c.batch_size)[1][:, 0]:
            adam.zero_grad()
            weighted(c, reference_losses(w, c, member.task, rows)).backward()
            adam.step()
    return {name: weight.detach() for name, weight in w.items()}


@pytest.mark.parametrize("index", range(5))
def test_a_steps_losses_and_gradients_are_those_of_the_equations(members, index):
    together = population(*members)
    _, rows = together.data.batches([0] * 5, 16)
    terms = differentiated(together, rows[0])[:, index]
    gradients = together.layers.own(index, together.layers.gradients)
    member, own_rows = members[index], rows[0, index] - together.data.first_rows[index]
    w = {name: weight.requires_grad_() for name, weight in start_of(member).items()}
    expected = reference_losses(w, member.config, member.task, own_rows)
    torch.testing.assert_close(terms, torch.stack(expected), rtol=1e-4, atol=1e-5)
    weighted(member.config, expected).backward()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, w[name].grad, rtol=1e-3, atol=1e-5)


def test_fixed_negatives_pull_the_own_classes_text_though_no_margin_is_missed(members):
    task = replace(members[0].task, seen=("one",), semantics=members[0].task.semantics[[0, 8, 9, 10]])
    task = replace(task, features=task.features[:30], labels=task.labels[:30])  # all of a class, which has no others
    alone = population(Member(task, config(negatives="fixed"), 0))
    differentiated(alone, torch.arange(16)[None], weights=[1.0, 0.0, 0.0, 0.0])
    assert not alone.layers.gradients["shared_x"].any()
    w = {name: weight.requires_grad_() for name, weight in start_of(alone.members[0]).items()}
    (code_x, code_y) = encoded(w, task.features[:16], task.semantics[task.labels[:16]])
    towards = layer(w, "shared_x", code_x).tanh().detach() * layer(w, "shared_y", code_y).tanh()
    (-towards.sum(dim=1).mean()).backward()
    torch.testing.assert_close(alone.layers.gradients["shared_y"][0], w["shared_y"].grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("index", [1, 3])
def test_two_epochs_are_those_of_a_textbook_loop(models_of, members, index):
    member = replace(members[index], config=members[index].config.model_copy(update={"epochs": 2}))
    expected = reference_fit(member, start_of(member), 2)
    (model,) = models_of(method, [member])
    for name, weight in expected.items():
        torch.testing.assert_close(model.weights[name], weight, rtol=1e-3, atol=5e-5)


def test_the_discrepancy_is_that_of_all_pairs_and_vanishes_between_equal_samples():
    draw = torch.Generator().manual_seed(0)
    points = torch.randn(2, 7, 3, generator=draw).requires_grad_()
    weights = torch.cat([torch.full((2, 4), 0.25), torch.full((2, 3), -1 / 3)], dim=1)
    kappa = torch.tensor([0.3, 2.0])
    squares = (points[:, :, None] - points[:, None]).square().sum(-1)
    kernel = (-kappa[:, None, None] * squares).exp()
    expected = (weights[:, :, None] * weights[:, None] * kernel).sum(dim=(1, 2))
    value = squared_discrepancy(points, weights, kappa)
    torch.testing.assert_close(value, expected)
    gradients = [torch.autograd.grad(found.sum(), points, retain_graph=True)[0] for found in (value, expected)]
    torch.testing.assert_close(*gradients)
    same = torch.cat([points[:, :3], points[:, :3]], dim=1).detach()
    value = squared_discrepancy(same, torch.tensor([[1 / 3] * 3 + [-1 / 3] * 3] * 2), kappa)
    torch.testing.assert_close(value, torch.zeros(2), rtol=0, atol=1e-6)


def test_training_brings_the_codes_together(models_of, problem):
    apart, near = models_of(method, [Member(problem.task, config(discrepancy=d, epochs=20), 0) for d in (0.0, 20.0)])

    def between(model):
        x = model.layer("encoder_x", problem.task.features).relu()
        y = model.layer("encoder_y_1", problem.task.semantics[problem.task.labels]).relu()
        codes = torch.cat([x, model.layer("encoder_y_2", y).relu()])[None]
        signs = torch.cat([torch.ones(len(x)), -torch.ones(len(x))])[None] / len(x)
        return squared_discrepancy(codes, signs, torch.tensor([0.2])).item()

    assert between(near) < 0.5 * between(apart)


# Populations


def test_what_lies_beyond_a_members_widths_stays_zero(members):
    together = population(*members)
    for epoch in range(EPOCHS):
        together.epochs = [epoch] * len(members)
        together.train_epoch()
    for tensors in (together.layers.parameters, together.optimiser.square):
        padded = together.layers.stacked([together.layers.own(m, tensors) for m in range(len(members))])
        assert all(torch.equal(tensors[name], padded[name]) for name in tensors)


# The model

LEARNING = {"epochs": 60, "learning_rate": 5e-3, "code": 24, "shared": 12, "hidden": 24}


@pytest.mark.parametrize("association", ["hinge", "binary", "softmax"])
def test_it_learns(models_of, problem, association):
    fitted = config(association=association, **LEARNING)
    models = models_of(method, [Member(problem.task, fitted, seed) for seed in range(4)])
    assert sum(zero_shot_metrics(model, problem.test)["zsl"] for model in models) > 4 * 0.8  # chance is 1/3
    model = models[0]
    seen = problem.test.where(problem.test.labels < 8)
    assert (model.seen_scores(seen.features).argmax(1) == seen.labels).double().mean() > 0.9
    own = replace(model, config=config(seen_classifier="compatibility"))
    assert (own.seen_scores(seen.features).argmax(1) == seen.labels).double().mean() > 0.9


@pytest.fixture
def model(members, models_of):
    return models_of(method, members[:1])[0]


@pytest.fixture
def joint(members, models_of):
    return models_of(method, [members[4]])[0]


def test_unseen_scores_are_the_softmax_of_products_in_the_shared_space(models_of, members, problem):
    for model in models_of(method, members[:4]):
        x, w = (problem.test.features + 6).clamp_min(0), model.weights
        code_x, code_y = encoded(w, (1 + x).log() if model.config.log_features else x, model.semantics)
        products = layer(w, "shared_x", code_x).tanh() @ layer(w, "shared_y", code_y).tanh().T
        torch.testing.assert_close(model.unseen_scores(x), products.log_softmax(1))


def test_the_joint_scores_are_one_distribution_over_all_classes(joint, members, problem):
    x = problem.test.features + 6
    seen, unseen = joint.sides(x)
    torch.testing.assert_close(torch.cat([seen, unseen], 1).exp().sum(1), torch.ones(len(x)))
    torch.testing.assert_close(seen.log_softmax(1), joint.seen_scores(x))
    torch.testing.assert_close(unseen.log_softmax(1), joint.unseen_scores(x))
    stacked = replace(joint, config=joint.config.model_copy(update={"combination": "stacking"}))
    assert all(torch.equal(a, b) for a, b in zip(stacked.sides(x), joint.sides(x), strict=True))
    gated = replace(joint, config=joint.config.model_copy(update={"combination": "soft"}))
    own = (joint.seen_scores(x), joint.unseen_scores(x))
    assert all(torch.equal(a, b) for a, b in zip(gated.sides(x), own, strict=True))


def test_a_logarithm_of_negative_features_is_refused(problem):
    with pytest.raises(InputError, match="log_features=true: some features are negative"):
        method.population([Member(problem.task, config(log_features=True), 0)], Workers(CPU))


def test_a_protocol_joins_the_products_as_they_are_or_calibrated(problem):
    own = {"seen_classifier": "compatibility", "association": "softmax", **LEARNING, "epochs": 20}
    candidates = [Candidate(config(combination=kind, **own), 0, "ru3") for kind in ("joint", "stacking", "hard")]
    options, context = ProtocolOptions(protocols=("clean",)), TrainingContext(CPU)
    found = [validate(method, {"ru3": problem}, {"0": c.config}, [0], options, context)["0"][0] for c in candidates]
    assert [type(v.combination) for v in found] == [Stacking, Stacking, Gate]
    assert found[0].combination.bias == 0
    assert found[1].metrics["harmonic_mean"] >= found[0].metrics["harmonic_mean"]  # the bias was chosen for it
    results = protocols.refit_and_test(method, {"ru3": problem}, candidates, found, options, context)
    model = results[0].models["clean"]
    assert torch.equal(model.scores(problem.test.features), torch.cat(model.sides(problem.test.features), dim=1))
    assert results[0].metrics["clean"] == pytest.approx(all_metrics(model, problem.test))


# Hyperparameters


def test_the_defaults_and_the_preset_are_those_of_synses_comparison():
    c = ReViSEConfig()
    assert (c.code, c.shared, c.hidden, c.margin, c.kappa, c.contraction) == (100, 50, 512, 0.3, 32, 1e-4)
    assert (c.learning_rate, c.text_decay, c.batch_size, c.epochs) == (1e-4, 1e-3, 1024, 300)
    assert (c.association, c.combination, c.log_features) == ("hinge", "soft", False)
    code = method.configure({}, "synse")
    assert (code.negatives, code.log_features, code.output_relu, code.contraction) == ("fixed", True, True, 0)
    assert set(method.presets) == {"synse"}
