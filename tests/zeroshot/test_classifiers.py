import gc
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from platform.population.draws import generator, shuffled_rows
from platform.zeroshot import classifiers
from platform.zeroshot.classifiers import (
    Adam,
    Penalised,
    SoftmaxClassifier,
    fit_on_features,
    fit_on_latents,
    fit_on_task,
)


@pytest.mark.parametrize("inverse_penalty", [0.05, 1.0, 20.0])
def test_the_seen_classifier_is_scikit_learns_logistic_regression(inverse_penalty):
    draw = generator(0)
    labels = torch.arange(120) % 4
    scale = torch.tensor([1.0, 100.0, 0.01, 1.0, 1.0])
    features = (torch.randn(4, 5, generator=draw)[labels] + torch.randn(120, 5, generator=draw)) * scale + 7
    classifier = fit_on_features(features, labels, 4, inverse_penalty)
    scaler = StandardScaler().fit(features.numpy())
    reference = LogisticRegression(C=inverse_penalty, tol=1e-8, max_iter=5000)
    reference.fit(scaler.transform(features.numpy()), labels.numpy())
    expected = torch.from_numpy(reference.predict_proba(scaler.transform(features.numpy()))).float()
    torch.testing.assert_close(classifier.log_probabilities(features).exp(), expected, rtol=0, atol=2e-3)


def test_a_constant_feature_does_no_harm():
    labels = torch.arange(20) % 2
    features = torch.stack([labels.float(), torch.full((20,), 3.0)], dim=1)
    assert torch.equal(fit_on_features(features, labels, 2, 1.0).log_probabilities(features).argmax(1), labels)


def test_features_that_are_not_finite_give_nan():
    features = torch.randn(20, 3)
    features[4, 1] = torch.nan
    classifier = fit_on_features(features, torch.arange(20) % 2, 2, 1.0)
    assert classifier.log_probabilities(torch.zeros(1, 3)).isnan().all()


def drawn_latents(widths, classes=3, samples=10, apart=2.0, seed=0):
    """Latents (classes · samples, width) of several widths, each class around a mean of its own, and their labels."""
    draw, labels = generator(seed), torch.arange(classes).repeat_interleave(samples)
    means = [apart * torch.randn(classes, width, generator=draw) for width in widths]
    return [mean[labels] + torch.randn(len(labels), mean.shape[1], generator=draw) for mean in means], labels


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    "training",
    [Adam(40, 0.05), Adam(6, 0.05, batch_size=8, betas=(0.5, 0.999), gain=0.5), Adam(7, 0.05, batch_size=30)],
    ids=["all latents", "batches", "a batch of all"],
)
def test_classifiers_on_latents_are_those_of_a_textbook_loop(training, relu):
    latents, labels = drawn_latents((4, 7))
    fitted = fit_on_latents(latents, labels, 3, training, relu, [generator(m) for m in range(2)])
    for m, z in enumerate(latents):
        draw = generator(m)
        if training.gain is None:
            start = (2 * torch.rand(3, z.shape[1] + 1, generator=draw) - 1) / z.shape[1] ** 0.5
            weight, bias = start[:, :-1].clone().requires_grad_(), start[:, -1].clone().requires_grad_()
        else:
            bound = training.gain * (6 / (z.shape[1] + 3)) ** 0.5
            weight = ((2 * torch.rand(z.shape[1], 3, generator=draw) - 1) * bound).T.clone().requires_grad_()
            bias = torch.zeros(3, requires_grad=True)
        optimiser = torch.optim.Adam([weight, bias], lr=training.learning_rate, betas=training.betas)
        batches = shuffled_rows(30, 8, draw, 6 * 3)  # three full ones a pass
        for own in batches if training.batch_size == 8 else [slice(None)] * training.passes:
            logits = torch.nn.functional.linear(z[own], weight, bias)
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(logits.relu() if relu else logits, labels[own]).backward()
            optimiser.step()
        torch.testing.assert_close(fitted[m].weight, weight.detach().T, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(fitted[m].bias, bias.detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("inverse_penalty", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("apart", [0.1, 2.0], ids=["classes overlap", "classes lie apart"])
def test_a_penalised_classifier_is_scikit_learns_whatever_the_latents_scale(inverse_penalty, apart):
    (z,), labels = drawn_latents((6,), classes=5, samples=40, apart=apart)
    scaled = StandardScaler().fit_transform(z.numpy())
    reference = LogisticRegression(C=inverse_penalty, tol=1e-8, max_iter=5000).fit(scaled, labels.numpy())
    expected = torch.from_numpy(reference.predict_proba(scaled)).float()

    def objective(probabilities, weight):
        own = probabilities[torch.arange(len(labels)), labels].log().mean()
        return (weight.square().sum() / (2 * len(labels) * inverse_penalty) - own).item()

    least = objective(expected, torch.from_numpy(reference.coef_))
    for scale in (1.0, 1e-3, 100.0):
        (found,) = fit_on_latents([scale * z], labels, 5, Penalised(inverse_penalty), False, [generator(0)])
        probabilities = found.log_probabilities(scale * z).exp()
        torch.testing.assert_close(probabilities, expected, rtol=0, atol=0.05)
        standardised = found.weight * (scale * z).std(0, correction=0)[:, None]
        assert objective(probabilities, standardised) == pytest.approx(least, abs=1e-3)


def cross_entropy_of(classifier, z, labels):
    return torch.nn.functional.nll_loss(classifier.log_probabilities(z), labels).item()


@pytest.mark.parametrize("classes", [3, 60])
def test_small_latents_need_more_than_a_fixed_count_of_steps_and_a_penalised_classifier_no_more(classes):
    (z,), labels = drawn_latents((32,), classes, 20, apart=3.0)
    losses = {}
    for scale in (1.0, 0.02):
        for name, training in (("steps", Adam(300, 1e-3)), ("penalised", Penalised(0.1))):
            (found,) = fit_on_latents([scale * z], labels, classes, training, False, [generator(0)])
            losses[name, scale] = cross_entropy_of(found, scale * z, labels)
    assert losses["steps", 0.02] > 2 * losses["penalised", 0.02]
    assert losses["penalised", 0.02] == pytest.approx(losses["penalised", 1.0], rel=1e-2)


def test_a_member_among_others_gets_the_classifier_that_it_would_get_alone(monkeypatch):
    latents, labels = drawn_latents((4, 9, 6))
    latents[1][3, 2] = torch.inf
    alone = [fit_on_latents([z], labels, 3, Penalised(0.1), False, [generator(0)])[0] for z in latents]
    together = classifiers._minimised(latents, labels, 3, 0.1)  # as a GPU fits them
    for m in (0, 2):
        torch.testing.assert_close(together[m].weight, alone[m].weight, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(together[m].bias, alone[m].bias, rtol=1e-3, atol=1e-4)
    assert together[1].log_probabilities(latents[0].new_zeros(1, 9)).isnan().all()
    batched = Adam(3, 0.05, batch_size=8)
    found = fit_on_latents(latents, labels, 3, batched, False, [generator(m) for m in range(3)])
    trained = classifiers._trained(latents, labels, 3, batched, False, [generator(m) for m in range(3)])
    for m in (0, 2):
        torch.testing.assert_close(trained[m].weight, found[m].weight)


def test_a_latent_dimension_that_never_varies_does_no_harm():
    (z,), labels = drawn_latents((4,), samples=20, apart=5.0)
    z[:, 2] = 7.0
    (found,) = fit_on_latents([z], labels, 3, Penalised(0.1), False, [generator(0)])
    assert (found.log_probabilities(z).argmax(1) == labels).double().mean() > 0.9


@pytest.mark.parametrize("training", [Penalised(0.1), Adam(3, 0.01), Adam(3, 0.01, batch_size=4)])
def test_one_class_alone_is_always_right(training):
    (found,) = fit_on_latents([torch.randn(10, 4)], torch.zeros(10).long(), 1, training, False, [generator(0)])
    assert torch.equal(found.log_probabilities(torch.randn(5, 4)), torch.zeros(5, 1))


def test_a_relu_has_no_single_minimum():
    (z,), labels = drawn_latents((4,))
    with pytest.raises(ValueError, match="train it by Adam"):
        fit_on_latents([z], labels, 3, Penalised(0.1), True, [generator(0)])


def test_log_probabilities_with_and_without_a_relu():
    x, weight, bias = torch.tensor([[1.0]]), torch.tensor([[2.0, -3.0]]), torch.zeros(2)
    plain = SoftmaxClassifier(weight, bias).log_probabilities(x)
    torch.testing.assert_close(plain, torch.log_softmax(torch.tensor([[2.0, -3.0]]), 1))
    cut = SoftmaxClassifier(weight, bias, relu=True).log_probabilities(x)
    torch.testing.assert_close(cut, torch.log_softmax(torch.tensor([[2.0, 0.0]]), 1))


@pytest.fixture
def fits(monkeypatch):
    """The penalties of the fits on features that were done."""
    done, fit = [], classifiers.fit_on_features

    def counted(*arguments):
        done.append(arguments[-1])
        return fit(*arguments)

    monkeypatch.setattr(classifiers, "fit_on_features", counted)
    return done


def test_on_a_task_it_is_fitted_once_and_is_that_of_its_features(problem, fits):
    task = problem.task
    expected = fit_on_features(task.features, task.labels, len(task.seen), 0.3)
    found = [fit_on_task(task, task.features, 0.3) for _ in range(3)]
    assert fits == [0.3]
    assert all(classifier is found[0] for classifier in found)
    assert torch.equal(found[0].weight, expected.weight)
    assert torch.equal(found[0].bias, expected.bias)


def test_another_penalty_or_task_has_a_fit_of_its_own(problem, make_problem, fits):
    alike, other = replace(problem.task), make_problem(10, 1).task
    for task, penalty in ((problem.task, 0.3), (problem.task, 0.5), (alike, 0.3), (other, 0.3), (problem.task, 0.3)):
        expected = fit_on_features(task.features, task.labels, len(task.seen), penalty)
        assert torch.equal(fit_on_task(task, task.features, penalty).weight, expected.weight)
    assert fits == [0.3, 0.5, 0.3, 0.3]


def test_a_fit_is_forgotten_with_its_task(make_problem):
    gc.collect()
    before = len(classifiers._OF_TASKS)
    task = make_problem(5).task
    fit_on_task(task, task.features, 1.0)
    assert len(classifiers._OF_TASKS) == before + 1
    del task
    gc.collect()
    assert len(classifiers._OF_TASKS) == before
