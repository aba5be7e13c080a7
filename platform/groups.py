"""Groups of options: a command takes frozen dataclasses, whose annotated fields become Typer's signature."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from functools import update_wrapper
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from typer.models import ParameterInfo

from platform.errors import InputError


@dataclass(frozen=True)
class Read:
    """In an option's annotation: the type and default that Typer sees, and the function from that to the field's value.

    by: called with the option's name and its value; may raise InputError.
    """

    given: Any
    by: Callable[[str, Any], Any]
    default: Any = None


@dataclass(frozen=True)
class Expected:
    """In a choice's annotation: what its error message names, in place of the list of choices."""

    said: str


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """`function` with each field of its groups as a parameter of its own, for Typer to call.

    A field of a Literal is a choice, which is checked here: InputError for any other value. A field without a
    `typer.Option` or `typer.Argument` keeps its default, which every field of a group has.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type, dict[str, Callable[[Any], Any]]]] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if is_dataclass(group := parameter.annotation):
            hints = get_type_hints(group, include_extras=True)
            said = [(field, get_args(hints[field.name])) for field in fields(group)]
            options = [_option(field, *notes) for field, notes in said if _only(ParameterInfo, notes)]
            groups[name] = group, {own.name: value for own, value in options}
            parameters += [own for own, _ in options]
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def command(**given: Any) -> None:
        for name, (group, values) in groups.items():
            given[name] = group(**{field: value(given.pop(field)) for field, value in values.items()})
        function(**given)

    update_wrapper(command, function)
    command.__signature__ = inspect.Signature(parameters)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _option(field: Field, kind: Any, *notes: Any) -> tuple[inspect.Parameter, Callable[[Any], Any]]:
    """A field as Typer sees it, and the function from what Typer passes to its value."""
    info = _only(ParameterInfo, notes)
    read = _only(Read, notes) or _read(kind, field.default, _only(Expected, notes))
    written = [name for name in (info.default, *(info.param_decls or ())) if str(name).startswith("--")]
    flag = (written or [f"--{field.name.replace('_', '-')}"])[0]
    shown = {"default": read.default, "annotation": Annotated[read.given, info]}
    parameter = inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, **shown)
    return parameter, lambda given: read.by(flag, given)


def _read(kind: Any, default: Any, expected: Expected | None) -> Read:
    choices = next((get_args(part) for part in (kind, *get_args(kind)) if get_origin(part) is Literal), ())
    if not choices:
        return Read(kind, lambda flag, given: given, default)

    def chosen(flag: str, given: str | None) -> str | None:
        if given is not None and given not in choices:
            said = expected.said if expected else f"one of {', '.join(choices)}"
            raise InputError(f"{flag} {given}: expected {said}")
        return given

    return Read(str | None if default is None else str, chosen, default)


def _only(kind: type, notes: Sequence[Any]) -> Any:
    return next((note for note in notes if isinstance(note, kind)), None)
