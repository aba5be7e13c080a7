"""What MLflow accepts: its characters for names, its lengths, its batch sizes."""

import posixpath
import re
from collections.abc import Mapping
from typing import TypeVar

NAME_LENGTH = 250
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
METRICS_PER_BATCH = 800  # of the 1000 entities of a batch, which leaves room for params and tags
PARAMS_PER_BATCH = 100
TAGS_PER_BATCH = 100

Value = TypeVar("Value")


def clean_names(values: Mapping[str, Value]) -> dict[str, Value]:
    """The values under names that MLflow accepts. Raises ValueError where two names become one."""
    cleaned = {clean_name(name): value for name, value in values.items()}
    if len(cleaned) != len(values):
        raise ValueError(f"two of these names are the same to MLflow: {', '.join(values)}")
    return cleaned


def clean_name(name: str) -> str:
    """ASCII letters, digits and `_-. :/`, in the form of a relative path; anything else becomes `_`."""
    allowed = re.sub(r"[^A-Za-z0-9_\-. :/]", "_", name)
    return posixpath.normpath(allowed).lstrip("./")[:NAME_LENGTH].rstrip("/") or "_"


def clip(value: object, length: int) -> str:
    """As text, cut to the length with an ellipsis."""
    text = str(value)
    return text if len(text) <= length else text[: length - 1] + "…"
