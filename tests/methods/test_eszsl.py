import pytest
import torch
from torch.nn.functional import normalize

from methods.eszsl import ESZSLConfig, method
from platform.method import Member
from platform.training.fitting import Fitting, TrainingGroup, chosen_epoch
from platform.workers import Workers


def fitted(task, **values):
    group = TrainingGroup("all", [Member(task, method.configure(values), 0)], 0, None, {"last": chosen_epoch([0])})
    Fitting(method, [group], Workers(torch.device("cpu"))).fit()
    return group.kept["last"][0], group.history[0][0]["squared_error"]


@pytest.mark.parametrize(("gamma", "lambda_"), [(1.0, 0.1), (100.0, 1.0), (1e-3, 10.0)])
@pytest.mark.parametrize(("targets", "elsewhere"), [("zero", 0.0), ("minus_one", -1.0)])
def test_its_weights_are_those_of_the_closed_form(problem, gamma, lambda_, targets, elsewhere):
    task = problem.task
    model, error = fitted(task, gamma=gamma, lambda_=lambda_, targets=targets)
    x, s = task.features.double(), normalize(task.semantics[:8].double(), dim=1)
    y = torch.full((len(x), 8), elsewhere).double()
    y[torch.arange(len(x)), task.labels] = 1
    of_features = torch.linalg.solve(x.T @ x + gamma * torch.eye(x.shape[1]).double(), x.T @ y @ s)
    weights = of_features @ torch.linalg.inv(s.T @ s + lambda_ * torch.eye(s.shape[1]).double())
    torch.testing.assert_close(
        model.weights["map"].double(), weights, rtol=1e-4, atol=1e-4 * float(weights.abs().max())
    )
    assert not model.weights["map_bias"].any()
    assert error == pytest.approx((x @ weights @ s.T - y).square().mean().item(), rel=1e-6)


def test_scores_are_the_products_over_the_temperature(problem):
    model, _ = fitted(problem.task, temperature=0.5)
    x = problem.test.features
    products = x @ model.weights["map"] @ normalize(problem.task.semantics, dim=1).T / 0.5
    torch.testing.assert_close(torch.cat(model.sides(x), 1), products.log_softmax(1))
    torch.testing.assert_close(model.unseen_scores(x), products[:, 8:].log_softmax(1))


def test_more_penalty_gives_smaller_weights_and_a_larger_error(problem):
    for name in ("gamma", "lambda_"):
        (loose, low), (tight, high) = (fitted(problem.task, **{name: value}) for value in (0.1, 1000.0))
        assert tight.weights["map"].norm() < 0.8 * loose.weights["map"].norm()
        assert high > low


def test_the_defaults_are_in_the_grid_and_the_codes():
    config = ESZSLConfig()
    assert (config.gamma, config.lambda_, config.targets) == (1.0, 1.0, "zero")
    assert (config.combination, config.seen_classifier) == ("stacking", "compatibility")
