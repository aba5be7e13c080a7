import pytest
import torch
from sklearn.linear_model import Ridge
from torch.nn.functional import cosine_similarity, normalize

from methods.ridge import RidgeConfig, method
from platform.method import Member
from platform.training.fitting import Fitting, TrainingGroup, chosen_epoch
from platform.workers import Workers


def fitted(task, **values):
    group = TrainingGroup("all", [Member(task, method.configure(values), 0)], 0, None, {"last": chosen_epoch([0])})
    Fitting(method, [group], Workers(torch.device("cpu"))).fit()
    return group.kept["last"][0], group.history[0][0]["squared_error"]


@pytest.mark.parametrize("gamma", [1e-2, 1.0, 300.0])
def test_its_map_is_scikit_learns_ridge_regression(make_problem, gamma):
    task = make_problem(samples=7).task
    task.features[:] += 5  # an intercept matters
    targets = normalize(task.semantics.double(), dim=1)[task.labels]
    reference = Ridge(alpha=gamma, solver="cholesky").fit(task.features.double().numpy(), targets.numpy())
    model, error = fitted(task, gamma=gamma)
    expected = torch.from_numpy(reference.predict(task.features.double().numpy()))
    torch.testing.assert_close(model.layer("map", task.features).double(), expected, rtol=1e-3, atol=1e-4)
    assert error == pytest.approx((expected - targets).square().mean().item(), rel=1e-4)


@pytest.mark.parametrize("score", ["cosine", "dot"])
@pytest.mark.parametrize("centred", [False, True])
def test_scores_compare_a_mapped_sample_with_each_classs_text(problem, score, centred):
    model, _ = fitted(problem.task, score=score, centred=centred, temperature=0.3)
    x, text = problem.test.features, normalize(problem.task.semantics, dim=1)
    mean = text[:8].mean(0) if centred else torch.zeros(16)
    mapped, text = model.layer("map", x) - mean, text - mean
    products = cosine_similarity(mapped[:, None], text, dim=2) if score == "cosine" else mapped @ text.T
    torch.testing.assert_close(torch.cat(model.sides(x), 1), (products / 0.3).log_softmax(1), rtol=1e-4, atol=1e-4)


def test_the_map_does_not_depend_on_how_it_is_compared(problem):
    own, other = (fitted(problem.task, score=s, centred=c)[0] for s, c in (("cosine", True), ("dot", False)))
    assert all(torch.equal(own.weights[name], other.weights[name]) for name in own.weights)


def test_the_defaults():
    config = RidgeConfig()
    assert (config.gamma, config.score, config.centred, config.combination) == (1.0, "cosine", True, "stacking")
