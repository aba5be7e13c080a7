import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from platform.population.draws import generator
from platform.zeroshot.classifiers import SoftmaxClassifier, fit_on_features, fit_on_latents


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
