"""Configurations from what a user writes: names checked, values typed, one clear line where something is wrong."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError

from platform.errors import InputError

Config = TypeVar("Config", bound=BaseModel)


def searched(
    default: Any,
    *,
    uniform: Sequence[float] | None = None,
    log_uniform: Sequence[float] | None = None,
    integer: Sequence[int] | None = None,
    choice: Sequence[int | float | str | bool] | None = None,
    **declared: Any,
) -> Any:
    """pydantic's `Field` with its search range, for searches without a space file: one kind, as in those files.

    declared: arguments of `Field`, such as `gt` and `description`. The range is checked when it is used.
    """
    kinds = {"uniform": uniform, "log_uniform": log_uniform, "integer": integer, "choice": choice}
    search = {kind: list(value) for kind, value in kinds.items() if value is not None}
    return Field(default, json_schema_extra={"search": search}, **declared)


def search_ranges(config: type[BaseModel]) -> dict[str, Any]:
    """The search ranges that a Config's fields declare, by name, as in a space file."""
    said = {name: field.json_schema_extra for name, field in config.model_fields.items()}
    return {name: extra["search"] for name, extra in said.items() if isinstance(extra, dict) and "search" in extra}


def validated(config: type[Config], values: Mapping[str, Any]) -> Config:
    """A configuration from values. Raises InputError naming the field, the value and what is expected."""
    for name in values:
        check_field(config, name)
    try:
        return config(**values)
    except ValidationError as error:
        first, *others = error.errors()
        field = str(first["loc"][0]) if first["loc"] else config.__name__
        said = [first["msg"].lower()]  # for a union, pydantic reports each alternative
        said += [other["msg"].lower() for other in others if other["loc"][:1] == first["loc"][:1]]
        said = [one.removeprefix("input should be ") if number else one for number, one in enumerate(said)]
        described = config.model_fields[field].description if first["loc"] else ""
        raise InputError(f"{field}={first['input']!r}: {', or '.join(said)} ({described})") from None


def check_field(config: type[BaseModel], name: str) -> None:
    """Raise InputError unless `name` is a field of the configuration; the nearest names are suggested."""
    if name not in config.model_fields:
        raise InputError(f"unknown field `{name}` of {config.__name__}{nearest(name, config.model_fields)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` or `; there is …`."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; there is {', '.join(known)}"


def assignments(pairs: Sequence[str]) -> dict[str, Any]:
    """`["learning_rate=1e-3", "gate=soft"]` as values, each read as YAML. Raises InputError without an equals sign."""
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"--set {pair}: expected FIELD=VALUE, as in --set learning_rate=1e-3")
        values[name.strip()] = number_or_yaml(text)
    return values


def number_or_yaml(text: str) -> Any:
    """YAML's value of a text, but with `1e-3` a number, which YAML 1.1 takes for a string.

    A mapping, or what is no YAML, is the text itself, as in `template={} in snow`: no field is a mapping.
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        pass
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return text if isinstance(found, dict) else found
