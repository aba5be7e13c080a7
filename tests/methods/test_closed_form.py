import gc
from dataclasses import replace

import pytest
import torch
from training_loop import fitted_until

from methods import closed_form
from methods.closed_form import Decomposition, decomposed
from platform.errors import InputError
from platform.method import Member, epochs_of, load_method
from platform.population.draws import generator
from platform.training import protocols
from platform.training.evaluation import all_metrics, zero_shot_metrics
from platform.training.protocols import Candidate, ProtocolOptions, TrainingContext, validate
from platform.training.trainable import outcomes_of
from platform.zeroshot.gate import Gate, Stacking

CPU = torch.device("cpu")


@pytest.fixture(params=["eszsl", "ridge"])
def method(request):
    return load_method(f"methods.{request.param}")


@pytest.fixture
def fitted(method, models_of):
    """A function of a task and fields to a model."""
    return lambda task, **values: models_of(method, [Member(task, method.configure(values), 0)])[0]


# The decomposition


@pytest.mark.parametrize("samples", [60, 9], ids=["more samples than dimensions", "fewer"])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("penalty", [1e-2, 1.0, 1e4])
def test_a_solution_is_that_of_the_normal_equations(samples, centred, penalty):
    draw = generator(samples)
    scale = torch.logspace(-3, 2, 20)  # as unequal as eigenvalues of real features are
    features, labels = torch.randn(samples, 20, generator=draw) * scale + 3, torch.arange(samples) % 4
    targets = torch.randn(4, 5, generator=draw, dtype=torch.float64)
    found = Decomposition.of(features, labels, 4, centred)
    x = features.double() - (features.double().mean(0) if centred else 0)
    gram, right = x.T @ x + penalty * torch.eye(20).double(), x.T @ targets[labels]
    weights = found.solution(targets, penalty)
    torch.testing.assert_close(gram @ weights, right, rtol=1e-6, atol=1e-6 * float(right.abs().max()))
    error = (x @ weights - targets[labels]).square().mean().item()
    assert found.error(weights, targets) == pytest.approx(error, rel=1e-6, abs=1e-9)
    torch.testing.assert_close(found.mean, features.double().mean(0) if centred else torch.zeros(20).double())
    assert found.counts.tolist() == torch.bincount(labels).tolist()


def test_rows_are_taken_some_at_a_time(monkeypatch):
    features, labels = torch.randn(50, 6, generator=generator(0)), torch.arange(50) % 3
    whole = Decomposition.of(features, labels, 3, True)
    monkeypatch.setattr(closed_form, "_ROWS", 7)
    parts = Decomposition.of(features, labels, 3, True)
    torch.testing.assert_close(parts.solution(torch.eye(3).double(), 1.0), whole.solution(torch.eye(3).double(), 1.0))


def test_a_task_is_decomposed_once_and_forgotten_with_it(make_problem, monkeypatch):
    gc.collect()
    before, task = len(closed_form._OF_TASKS), make_problem(5).task
    first = decomposed(task, CPU, True)
    assert decomposed(task, CPU, True) is first
    assert decomposed(task, CPU, False) is not first
    assert decomposed(replace(task), CPU, True) is not first
    assert len(closed_form._OF_TASKS) == before + 1  # the copy is gone already
    del task
    gc.collect()
    assert len(closed_form._OF_TASKS) == before


# The methods


def test_it_recognises_classes_that_it_never_saw(fitted, problem):
    model = fitted(problem.task)
    unseen = problem.test.where(problem.test.labels >= 8)
    assert zero_shot_metrics(model, unseen)["zsl"] > 0.9  # chance is 1/3
    seen = problem.test.where(problem.test.labels < 8)
    assert (model.seen_scores(seen.features).argmax(1) == seen.labels).double().mean() > 0.9


class Thrice:
    """A run that wants three epochs, as a search does that measures how long one takes."""

    device, rank, world_size, epochs = CPU, 0, 1, 0

    def epoch_end(self, losses, models, states):
        self.epochs += 1
        assert states([0])[0]["epoch"] == 1
        return self.epochs < 3


def test_more_epochs_than_one_change_nothing(method, problem):
    run = Thrice()
    fitted_until(method, [Member(problem.task, method.configure({}), 0)], run)
    assert run.epochs == 3


def test_scores_are_probabilities_that_one_temperature_sharpens(fitted, problem):
    x = problem.test.features
    sharp, flat = (fitted(problem.task, temperature=t, combination="joint") for t in (0.1, 1.0))
    for model in (sharp, flat):
        torch.testing.assert_close(torch.cat(model.sides(x), 1).exp().sum(1), torch.ones(len(x)))
        torch.testing.assert_close(model.sides(x)[0].log_softmax(1), model.seen_scores(x))
        torch.testing.assert_close(model.sides(x)[1].log_softmax(1), model.unseen_scores(x))
    again = (10 * torch.cat(flat.sides(x), 1)).log_softmax(1)
    torch.testing.assert_close(torch.cat(sharp.sides(x), 1), again, rtol=1e-3, atol=1e-4)
    assert set(sharp.latents(x)) == {"text"}
    assert sharp.latents(x)["text"].shape == (len(x), problem.task.semantics.shape[1])


def test_the_length_of_a_classs_text_makes_no_difference(fitted, problem):
    longer = torch.arange(1.0, 12.0)[:, None] * problem.task.semantics
    own, other = (fitted(task) for task in (problem.task, replace(problem.task, semantics=longer)))
    for scores, expected in zip(other.sides(problem.test.features), own.sides(problem.test.features), strict=True):
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


def test_a_protocol_validates_and_tests_it(method, problem):
    kinds = {"joint": Stacking, "stacking": Stacking, "hard": Gate}
    candidates = [Candidate(method.configure({"combination": kind}), 0, "ru3") for kind in kinds]
    options, context = ProtocolOptions(protocols=("clean",)), TrainingContext(CPU)
    found = [validate(method, {"ru3": problem}, {"0": c.config}, [0], options, context)["0"][0] for c in candidates]
    assert [type(v.combination) for v in found] == list(kinds.values())
    results = protocols.refit_and_test(method, {"ru3": problem}, candidates, found, options, context)
    for result in results:
        assert result.metrics["clean"] == pytest.approx(all_metrics(result.models["clean"], problem.test))
        assert result.metrics["clean"]["zsl"] > 0.9


# Hyperparameters


def test_it_has_one_epoch_and_no_field_for_more(method):
    assert epochs_of(method.configure({})) == 1
    with pytest.raises(InputError, match="epochs"):
        method.configure({"epochs": 2})


def test_nothing_is_said_of_epochs_where_there_is_one():
    validation = protocols.Validation([{"zsl": 0.2}], 0, {"zsl": 0.2}, Stacking(0.0), above_chance=False)
    (outcome,) = outcomes_of("0", {}, [0], ["made up"], [validation])
    assert outcome.notes == [
        "validation is not above chance on the pseudo-unseen classes by two standard errors: what it says of this "
        "configuration may be luck"
    ]
