"""Which space a method is searched in: a file that was given, one with its name, or what its Config's fields say."""

import importlib
import importlib.util
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from platform.configuration import search_ranges, validated
from platform.errors import InputError
from platform.method import ScoringConfig
from platform.runtime import ROOT
from platform.search.space import SearchSpace, parsed_space, read_space
from platform.setup import ConfiguredMethod

SPACES = ROOT / "search_spaces"
_REPOSITORY = "methods"  # the package whose methods own the files of search_spaces that have their names
_TRIALS = 20  # of a space without a file


@dataclass(frozen=True)
class FoundSpace:
    """A space, and the text of its file. name: as messages call it; why: the reason for the choice, in a line."""

    space: SearchSpace
    text: str
    name: str
    why: str


def find_space(
    method: ConfiguredMethod, given: Path | None, samples: int, assigned: Collection[str] = ()
) -> FoundSpace:
    """The space that was given; else the file with the method's name, of `search_spaces` or beside its module; else
    the ranges that its Config's fields say.

    samples: those to train on; a METHOD_small.yaml is taken below the count that it says. assigned: fields that --set
    gave, which a space without a file does not sample. Raises InputError where a file is wrong, or nothing says what to
    search.
    """
    name, config = method.short, method.method.Config
    if given is not None:
        return _of_file(given, config, "given")
    for folder, whose in _folders(method.name):
        small, usual = folder / f"{name}_small.yaml", folder / f"{name}.yaml"
        if small.exists():
            below = read_space(small, config).below
            if below is None:
                raise InputError(f"{small}: below is missing; give the training samples below which it is chosen")
            if samples < below:
                why = f"for fewer than {below:,} training samples; here are {samples:,}"
                return _of_file(small, config, why)
        if usual.exists():
            return _of_file(usual, config, whose)
    return _of_fields(method, assigned)


def _folders(method: str) -> list[tuple[Path, str]]:
    """Where a file with the method's name is looked for, and its description."""
    package, _, name = method.rpartition(".")
    of_another = package != _REPOSITORY and importlib.util.find_spec(f"{_REPOSITORY}.{name}") is not None
    beside = Path(importlib.import_module(method).__file__).parent
    own = [] if of_another else [(SPACES, "the method's own")]
    return [*own, (beside, "beside the method's module")]


def _of_file(path: Path, config: type[ScoringConfig], why: str) -> FoundSpace:
    space = read_space(path, config)
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return FoundSpace(space, path.read_text(), path.name, f"{shown}: {why}")


def _of_fields(method: ConfiguredMethod, assigned: Collection[str]) -> FoundSpace:
    config = method.method.Config
    source, ranges = f"{method.name}: {config.__name__}", search_ranges(config)
    sampled = {name: said for name, said in ranges.items() if name not in assigned}
    if sampled:
        why = f"the fields of {config.__name__} that say a range: {', '.join(sampled)}"
    elif not ranges and (sampled := _around_learning_rate(config, assigned)):
        low, high = sampled["learning_rate"]["log_uniform"]
        why = (
            f"learning_rate alone, {low:g} to {high:g}, since no field of {config.__name__} says a range "
            "(platform.configuration.searched) and there is no space file"
        )
    else:
        left = "--set gives all that could be" if set(assigned) & {*ranges, "learning_rate"} else "nothing says what is"
        raise InputError(
            f"{method.name}: {left} searched: give a file with --space, put {method.short}.yaml beside the module, "
            f"or let fields of {config.__name__} say a range (platform.configuration.searched)"
        )
    stage = {"name": "fields", "trials": _TRIALS, "sampled": sampled}
    text = yaml.safe_dump({"source": f"the fields of {source}", "stages": [stage]}, sort_keys=False)
    return FoundSpace(parsed_space(text, source, config), text, config.__name__, why)


def _around_learning_rate(config: type[ScoringConfig], assigned: Collection[str]) -> dict[str, Any]:
    """A factor of ten to each side of its default, within the field's bounds; nothing where --set gives it."""
    field = config.model_fields.get("learning_rate")
    if field is None or "learning_rate" in assigned or not isinstance(field.default, float) or field.default <= 0:
        return {}
    ends = (field.default / 10, field.default * 10)
    return {"learning_rate": {"log_uniform": [e if _is_allowed(config, e) else field.default for e in ends]}}


def _is_allowed(config: type[ScoringConfig], learning_rate: float) -> bool:
    try:
        validated(config, {"learning_rate": learning_rate})
    except InputError:
        return False
    return True
