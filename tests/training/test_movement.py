"""Whether a configuration can move a model far enough on data of a given size."""

import pytest
import torch

from platform.method import load_method
from platform.training.movement import too_little_movement
from platform.zeroshot.task import Task

MINILM, ATTRIBUTES = 15.58, 5.97  # mean of the sum over a class's text: UTD-MHAD's names, AwA1's attributes


def found(name, samples, text=MINILM, **fields):
    """Of a task of two classes whose text has this sum."""
    semantics = torch.full((2, 10), text / 10) * torch.tensor([[1.0], [-1.0]])
    task = Task(("a",), ("b",), torch.zeros(samples, 1), torch.zeros(samples, dtype=torch.long), semantics)
    method = load_method(f"methods.{name}")
    return too_little_movement(method, method.configure(fields), task)


def test_the_papers_values_are_doubted_on_a_hundredth_of_its_data():
    few = found("sadvae", 351)  # UTD-MHAD, ru5: at chance
    assert (few.steps, few.least) == (110, 1.5)
    assert few.movement == pytest.approx(110 * 3.39e-5 * (1 + MINILM), rel=1e-4)
    assert few.fitting == {"learning_rate": 1e-3, "epochs": 21}
    assert found("sadvae", 351, **few.fitting) is None  # 54 % with 20 epochs
    assert found("sadvae", 36_700) is None  # NTU-60


def test_on_awa1_the_default_is_doubted_and_what_trains_is_not():
    assert found("sadvae", 19_436, ATTRIBUTES) is not None  # 12 %, chance 10
    small = {"beta_x": 1e-3, "beta_y": 1e-3, "lambda_2": 1e-3}
    assert found("sadvae", 19_436, ATTRIBUTES, learning_rate=1e-3, **small) is None  # 36 %


def test_values_that_train_are_not_doubted():
    assert found("sadvae", 351, learning_rate=1e-3) is None  # 39 % on UTD-MHAD, ru5
    assert found("cadavae", 351) is None
    assert found("cadavae", 351, epochs=40) is None  # 36 %
    assert found("cadavae", 351, epochs=12) is not None  # H 0


def test_steps_are_the_methods_own():
    assert load_method("methods.synse").steps(load_method("methods.synse").configure({}), 351) == 17_000
    assert load_method("methods.claster").steps(load_method("methods.claster").configure({}), 351) == 10_000
    assert found("synse", 351) is None
    assert found("synse", 351, cycle=10, beta_start=5, beta_y_start=8, alpha_start=8, epochs=2).steps == 20


def test_methods_that_compare_are_not_doubted():
    assert found("smie", 351) is None  # 48 % on UTD-MHAD, ru5
    assert found("jpose", 351) is None


def test_a_rate_is_suggested_where_one_alone_will_do():
    few = found("sadvae", 19_436, ATTRIBUTES)
    assert few.fitting == {"learning_rate": 9e-5}
    assert found("sadvae", 19_436, ATTRIBUTES, **few.fitting) is None
