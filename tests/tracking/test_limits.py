import pytest

from platform.tracking.limits import clean_name, clean_names, clip


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("val/unseen: top-1", "val/unseen: top-1"),
        ("acc@1 (%)", "acc_1 ___"),
        ("β", "_"),
        ("/a//b/../c/", "a/c"),
        ("..", "_"),
        ("x" * 300, "x" * 250),
    ],
)
def test_names_become_what_mlflow_accepts(name, cleaned):
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    assert clean_name(name) == cleaned
    _validate_metric_name(cleaned)
    _validate_param_name(cleaned)


def test_names_that_become_one_are_refused():
    assert clean_names({"a(b)": 1, "c": 2}) == {"a_b_": 1, "c": 2}
    with pytest.raises(ValueError, match="the same to MLflow"):
        clean_names({"a(b)": 1, "a[b]": 2})


def test_long_values_are_cut_visibly():
    assert clip(0.5, 3) == "0.5"
    assert clip("abcd", 3) == "ab…"
