from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from platform.configuration import assignments, check_field, nearest, number_or_yaml, validated
from platform.errors import InputError


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    epochs: int = Field(10, ge=1, description="passes")
    kind: Literal["soft", "hard"] = Field("soft", description="of gate")
    normalise: Literal["auto"] | Literal["none", "scale", "standard", "minmax", "l2"] = Field(
        "auto", description="of features"
    )


def test_values_are_checked_and_typed():
    assert validated(Options, {"learning_rate": 1, "kind": "hard"}) == Options(learning_rate=1.0, kind="hard")
    assert validated(Options, {}) == Options()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": -1}, r"learning_rate=-1: input should be greater than 0 \(of Adam\)"),
        ({"epochs": 1.5}, r"epochs=1\.5: .*integer.* \(passes\)"),
        ({"kind": "sof"}, r"kind='sof': input should be 'soft' or 'hard' \(of gate\)"),
        (
            {"normalise": "foo"},
            r"normalise='foo': input should be 'auto', or 'none', 'scale', 'standard', 'minmax' or 'l2' \(of f",
        ),
        ({"learning_rat": 1}, "unknown field `learning_rat` of Options; did you mean `learning_rate`?"),
        ({"xyz": 1}, "unknown field `xyz` of Options; there is learning_rate, epochs, kind, normalise"),
    ],
)
def test_a_mistake_is_named_in_one_line(values, message):
    with pytest.raises(InputError, match=message) as error:
        validated(Options, values)
    assert "\n" not in str(error.value)


def test_a_field_is_checked_by_name():
    check_field(Options, "epochs")
    with pytest.raises(InputError, match="did you mean `epochs`"):
        check_field(Options, "epoch")
    assert nearest("zzz", ["a", "b"]) == "; there is a, b"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 0.001),
        ("-.5", -0.5),
        ("true", True),
        ("null", None),
        ("soft", "soft"),
        ("[1, a]", [1, "a"]),
        ("'3'", "3"),
        ("", None),
    ],
)
def test_a_text_becomes_a_value(text, value):
    found = number_or_yaml(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["{}", "{} in snow", "action: {}", "[1, 2", "a video of {}."])
def test_text_that_is_no_number_and_no_yaml_stays_as_it_is(text):
    assert number_or_yaml(text) == text


def test_assignments_are_split_at_the_first_equals_sign():
    assert assignments(["epochs=3", "text = a=b"]) == {"epochs": 3, "text": "a=b"}
    with pytest.raises(InputError, match="--set epochs: expected FIELD=VALUE"):
        assignments(["epochs"])
