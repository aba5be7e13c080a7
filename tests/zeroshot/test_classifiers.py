import gc
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from platform.population.draws import generator
from platform.zeroshot import classifiers
from platform.zeroshot.classifiers import SoftmaxClassifier, fit_on_features, fit_on_latents, fit_on_task


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


@pytest.mark.parametrize("relu", [False, True])
def test_classifiers_on_latents_are_those_of_a_textbook_loop(relu):
    draw, classes, steps, rate = generator(0), 3, 40, 0.05
    labels = torch.arange(30) % classes
    latents = [torch.randn(30, width, generator=draw) + 2 * labels[:, None] for width in (4, 7)]
    fitted = fit_on_latents(latents, labels, classes, steps, rate, relu, [generator(m) for m in range(2)])
    for m, z in enumerate(latents):
        start = (2 * torch.rand(classes, z.shape[1] + 1, generator=generator(m)) - 1) / z.shape[1] ** 0.5
        weight, bias = start[:, :-1].clone().requires_grad_(), start[:, -1].clone().requires_grad_()
        optimiser = torch.optim.Adam([weight, bias], lr=rate)
        for _ in range(steps):
            logits = torch.nn.functional.linear(z, weight, bias)
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(logits.relu() if relu else logits, labels).backward()
            optimiser.step()
        torch.testing.assert_close(fitted[m].weight, weight.detach().T, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(fitted[m].bias, bias.detach(), rtol=1e-4, atol=1e-5)


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
