import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_loop import fitted_until

from methods import closed_form
from methods.closed_form import Decomposition, decomposed
from platform.errors import InputError
from platform.method import Member, epochs_of, load_method
from platform.population.draws import generator
from platform.search.space import read_space
from platform.training import protocols
from platform.training.evaluation import all_metrics, zero_shot_metrics
from platform.training.fitting import Fitting, TrainingGroup, chosen_epoch
from platform.training.protocols import Candidate, ProtocolOptions, TrainingContext, validate
from platform.training.saved_models import load_model, save_model
from platform.training.trainable import outcomes_of
from platform.workers import Workers
from platform.zeroshot.gate import Gate, Stacking

CPU = torch.device("cpu")
METHODS = ("eszsl", "ridge")


def fit(method, members, **options):
    group = TrainingGroup("all", members, 0, None, {"last": chosen_epoch([0] * len(members))})
    Fitting(method, [group], Workers(CPU), **options).fit()
    return group


def fitted(method, task, **values):
    return fit(method, [Member(task, method.configure(values), 0)]).kept["last"][0]


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


@pytest.fixture
def method(name):
    return load_method(f"methods.{name}")


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


def test_it_recognises_classes_that_it_never_saw(method, problem):
    model = fitted(method, problem.task)
    unseen = problem.test.where(problem.test.labels >= 8)
    assert zero_shot_metrics(model, unseen)["zsl"] > 0.9  # chance is 1/3
    seen = problem.test.where(problem.test.labels < 8)
    assert (model.seen_scores(seen.features).argmax(1) == seen.labels).double().mean() > 0.9


def test_each_member_of_a_population_equals_the_same_configuration_alone(method, make_problem):
    tasks = [make_problem(30, 0).task, make_problem(2, 1).task]  # of which the second has fewer samples than dimensions
    tasks[1] = replace(tasks[1], unseen=tasks[1].unseen[:2], semantics=tasks[1].semantics[:-1])
    values = ({}, {"gamma": 10.0, "seen_classifier": "features", "combination": "hard"}, {"temperature": 1.0})
    members = [Member(task, method.configure(v), 0) for task in tasks for v in values]
    together, x = fit(method, members), make_problem().test.features
    for m, member in enumerate(members):
        alone = fit(method, [member])
        for scores, expected in zip(together.kept["last"][m].sides(x), alone.kept["last"][0].sides(x), strict=True):
            assert torch.equal(scores, expected)
        assert together.history[0][m] == alone.history[0][0]
        assert 0 < together.history[0][m]["squared_error"] < 1


def test_a_fit_that_is_taken_up_again_is_the_same(method, problem, tmp_path):
    members = [Member(problem.task, method.configure({}), 0)]
    options = {"checkpoint": tmp_path / "fit.safetensors", "checkpoint_seconds": 0}
    first, again = (fit(method, members, **options) for _ in range(2))
    assert again.history == first.history
    assert torch.equal(again.kept["last"][0].weights["map"], first.kept["last"][0].weights["map"])


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


def test_scores_are_probabilities_that_one_temperature_sharpens(method, problem):
    x = problem.test.features
    sharp, flat = (fitted(method, problem.task, temperature=t, combination="joint") for t in (0.1, 1.0))
    for model in (sharp, flat):
        torch.testing.assert_close(torch.cat(model.sides(x), 1).exp().sum(1), torch.ones(len(x)))
        torch.testing.assert_close(model.sides(x)[0].log_softmax(1), model.seen_scores(x))
        torch.testing.assert_close(model.sides(x)[1].log_softmax(1), model.unseen_scores(x))
    again = (10 * torch.cat(flat.sides(x), 1)).log_softmax(1)
    torch.testing.assert_close(torch.cat(sharp.sides(x), 1), again, rtol=1e-3, atol=1e-4)
    assert set(sharp.latents(x)) == {"text"}
    assert sharp.latents(x)["text"].shape == (len(x), problem.task.semantics.shape[1])


def test_the_length_of_a_classs_text_makes_no_difference(method, problem):
    longer = torch.arange(1.0, 12.0)[:, None] * problem.task.semantics
    own, other = (fitted(method, task) for task in (problem.task, replace(problem.task, semantics=longer)))
    for scores, expected in zip(other.sides(problem.test.features), own.sides(problem.test.features), strict=True):
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


def test_other_classes_may_be_more_or_fewer(method, problem):
    x, joined = problem.test.features, fitted(method, problem.task).joined_by(Stacking(0.1))
    same = joined.with_classes(problem.task.unseen, problem.task.semantics[8:])
    assert torch.equal(same.scores(x), joined.scores(x))
    for count in (2, 5):
        renamed = joined.with_classes([f"new {i}" for i in range(count)], problem.task.semantics[:count].double())
        assert renamed.scores(x).shape == (len(x), 8 + count)
        torch.testing.assert_close(renamed.seen_scores(x), joined.seen_scores(x))
    with pytest.raises(InputError, match=r"expected \(classes, 16\)"):
        joined.with_classes(["a"], torch.zeros(1, 17))


@pytest.mark.parametrize("seen_classifier", ["compatibility", "features"])
def test_a_saved_model_gives_the_same_scores(name, method, problem, tmp_path, seen_classifier):
    joined = fitted(method, problem.task, seen_classifier=seen_classifier).joined_by(Stacking(0.5))
    save_model(f"methods.{name}", joined, tmp_path / "model", {})
    loaded, _ = load_model(tmp_path / "model")
    assert torch.equal(loaded.scores(problem.test.features), joined.scores(problem.test.features))
    classes = (["a", "b"], problem.task.semantics[:2])
    again = (m.with_classes(*classes).scores(problem.test.features) for m in (loaded, joined))
    assert torch.equal(*again)


def test_given_logits_are_used_and_missed(method, problem):
    config = method.configure({"seen_classifier": "logits"})
    with pytest.raises(InputError, match="the data folder has no logits"):
        fit(method, [Member(problem.task, config, 0)])
    task = replace(problem.task, logits=torch.randn(len(problem.task.labels), 8))
    (model,) = fit(method, [Member(task, config, 0)]).kept["last"].values()
    logits = torch.randn(len(problem.test.labels), 8)
    torch.testing.assert_close(model.seen_scores(problem.test.features, logits), torch.log_softmax(logits, 1))


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


def test_every_field_says_what_it_is_and_an_epoch_is_none(method):
    assert all(field.description for field in method.Config.model_fields.values())
    assert epochs_of(method.configure({})) == 1
    with pytest.raises(InputError, match="epochs"):
        method.configure({"epochs": 2})


def test_its_search_space_can_be_read(name, method):
    folder = Path(__file__).parents[2] / "search_spaces"
    assert read_space(folder / f"{name}.yaml", method.Config).stages


def test_nothing_is_said_of_epochs_where_there_is_one():
    validation = protocols.Validation([{"zsl": 0.2}], 0, {"zsl": 0.2}, Stacking(0.0), above_chance=False)
    (outcome,) = outcomes_of("0", {}, [0], ["made up"], [validation])
    assert outcome.notes == [
        "validation is not above chance on the pseudo-unseen classes by two standard errors: what it says of this "
        "configuration may be luck"
    ]
