"""Whether a configuration can move weights far enough on data of a given size."""

import pytest

from platform.method import load_method
from platform.training.movement import too_little_movement


def found(name, samples, **fields):
    method = load_method(f"methods.{name}")
    return too_little_movement(method, method.configure(fields), samples)


def test_the_papers_values_are_doubted_on_a_hundredth_of_its_data():
    few = found("sadvae", 351)  # UTD-MHAD, ru5: at chance
    assert (few.steps, few.least) == (110, 0.04)
    assert few.movement == pytest.approx(110 * 3.39e-5)
    assert few.fitting == {"learning_rate": 1e-3}
    assert found("sadvae", 351, **few.fitting) is None  # 39 % there
    assert found("sadvae", 36_700) is None  # NTU-60


def test_values_that_train_are_not_doubted():
    assert found("sadvae", 19_436, learning_rate=1e-3, beta_x=1e-3, beta_y=1e-3, lambda_2=1e-3) is None  # AwA1
    assert found("cadavae", 351) is None
    assert found("cadavae", 351, epochs=40) is None  # 36 % on UTD-MHAD, ru5
    assert found("cadavae", 351, epochs=12) is not None


def test_steps_are_the_methods_own():
    assert load_method("methods.synse").steps(load_method("methods.synse").configure({}), 351) == 17_000
    assert load_method("methods.claster").steps(load_method("methods.claster").configure({}), 351) == 10_000
    assert found("synse", 351) is None
    assert found("synse", 351, cycle=10, beta_start=5, beta_y_start=8, alpha_start=8, epochs=2).steps == 20


def test_methods_that_compare_are_not_doubted():
    assert found("smie", 351) is None  # 0.003, and 48 % on UTD-MHAD, ru5
    assert found("jpose", 351) is None


def test_where_no_sensible_rate_would_do_more_epochs_are_suggested():
    few = found("sadvae", 20, epochs=5)
    assert few.fitting["learning_rate"] == 1e-3
    assert few.fitting["epochs"] == 100
    assert found("sadvae", 20, **few.fitting) is None
