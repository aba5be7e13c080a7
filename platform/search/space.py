"""Search spaces: what is searched, in which stages, checked against the method's Config before anything starts."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import optuna
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from platform.configuration import check_field, validated
from platform.errors import InputError
from platform.method import ScoringConfig

METRICS = (
    "harmonic_mean", "zsl", "seen", "unseen", "ausuc",
    "harmonic_mean_per_sample", "zsl_per_sample", "seen_per_sample", "unseen_per_sample",
)  # fmt: skip


class Dimension(BaseModel):
    """How one field is sampled: exactly one of the five kinds, perhaps only `when` other fields have given values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    integer: tuple[int, int] | tuple[int, int, int] | None = None  # low, high and perhaps a step
    choice: tuple[int | float | str | bool, ...] | None = None
    same_as: str | None = None
    when: dict[str, list[Any]] = {}

    @model_validator(mode="after")
    def _one_kind(self) -> "Dimension":
        if len(self.kinds()) != 1:
            raise ValueError("expected exactly one of uniform, log_uniform, integer, choice, same_as")
        return self

    def kinds(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in ("uniform", "log_uniform", "integer", "choice", "same_as")}
        return {name: value for name, value in named.items() if value is not None}

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the other fields have the values that this one is sampled for."""
        return all(values.get(other) in allowed for other, allowed in self.when.items())

    def ends(self) -> list[Any]:
        """The values that must be valid for every sample to be valid."""
        (kind, value), *_ = self.kinds().items()
        return [] if kind == "same_as" else list(value) if kind == "choice" else list(value[:2])

    def distribution(self) -> BaseDistribution | None:
        """Optuna's distribution; None for same_as, which draws nothing."""
        (kind, value), *_ = self.kinds().items()
        if kind == "same_as":
            return None
        if kind == "choice":
            return CategoricalDistribution(value)
        if kind == "integer":
            return IntDistribution(value[0], value[1], step=value[2] if len(value) == 3 else 1)
        return FloatDistribution(*value, log=kind == "log_uniform")

    def holds(self, value: object) -> bool:
        """Whether a sample could have this value."""
        (kind, range_), *_ = self.kinds().items()
        if kind == "choice":
            return value in range_
        if kind == "same_as" or isinstance(value, bool) or not isinstance(value, int | float):
            return False
        on_step = kind != "integer" or (value - range_[0]) % (range_[2] if len(range_) == 3 else 1) == 0
        return range_[0] <= value <= range_[1] and on_step

    def sample(self, name: str, trial: optuna.Trial, values: Mapping[str, Any]) -> Any:  # whatever the field holds
        match self.distribution():
            case None:
                return values[self.same_as]
            case CategoricalDistribution() as drawn:
                return trial.suggest_categorical(name, drawn.choices)
            case IntDistribution() as drawn:
                return trial.suggest_int(name, drawn.low, drawn.high, step=drawn.step)
            case drawn:
                return trial.suggest_float(name, drawn.low, drawn.high, log=drawn.log)


class Stage(BaseModel):
    """One stage: `fixed` fields, which --set, --preset and earlier stages' best values override, and `sampled` ones.

    points: values of sampled fields to try first, one trial each; fields that a point leaves out are sampled.
    preliminary: its fixed fields make it another method, such as ERPCNet without its policy: its best values go on to
    the next stages, but none of its trials can be the search's best.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w-]+$")
    trials: int = Field(ge=1)
    fixed: dict[str, Any] = {}
    sampled: dict[str, Dimension]
    points: list[dict[str, Any]] = []
    preliminary: bool = False

    def sample(self, trial: optuna.Trial, kept: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration's values: those kept from before, the fixed ones, and this trial's."""
        values = {**self.fixed, **kept}
        for name, dimension in self.sampled.items():
            if dimension.same_as and dimension.same_as not in values:
                continue  # the other field was not sampled, by its own condition
            if dimension.applies(values):
                values[name] = dimension.sample(name, trial, values)
        return values

    def distributions(self, values: Mapping[str, Any]) -> dict[str, BaseDistribution] | None:
        """The distributions of the fields that such a configuration samples; None where the stage cannot sample it."""
        found = {}
        for name, dimension in self.sampled.items():
            if dimension.same_as or not dimension.applies(values):
                continue
            if not dimension.holds(values.get(name)):
                return None
            found[name] = dimension.distribution()
        return found


class SearchSpace(BaseModel):
    """A search-space file. metric: one, or several that are searched for their Pareto front.

    below: of a METHOD_small.yaml, the count of training samples below which it is chosen by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str  # the paper's table that the space is taken from
    metric: list[Literal[METRICS]] = Field(["harmonic_mean"], min_length=1)
    mode: Literal["max", "min"] = "max"
    sampler: str = "random"
    below: int | None = Field(None, ge=1)
    stages: list[Stage] = Field(min_length=1)

    @field_validator("metric", mode="before")
    @classmethod
    def _one_or_several(cls, metric: object) -> object:
        return [metric] if isinstance(metric, str) else metric

    @property
    def leading(self) -> str:
        """The metric by which trials are ranked: the only one, or of several the harmonic mean, which weighs them."""
        return self.metric[0] if len(self.metric) == 1 else "harmonic_mean"


def read_space(path: Path, config: type[ScoringConfig]) -> SearchSpace:
    """Read and check a space file. Raises InputError naming the file, the stage and the field that is wrong."""
    if not path.is_file():
        raise InputError(f"{path}: no such search-space file; give one with --space")
    try:
        return parsed_space(path.read_text(), str(path), config)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a search-space file ({error})") from error


def parsed_space(text: str, source: str, config: type[ScoringConfig]) -> SearchSpace:
    """The same of a file's text. source: what it is from, for messages."""
    try:
        space = SearchSpace(**(_with_numbers(yaml.safe_load(text)) or {}))
    except (yaml.YAMLError, TypeError) as error:
        raise InputError(f"{source}: not a search-space file ({str(error).splitlines()[0]})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{source}: {where}: {first['msg']}") from error
    names = [stage.name for stage in space.stages]
    if len(set(names)) != len(names):
        raise InputError(f"{source}: two stages have one name; their names must differ")
    if space.stages[-1].preliminary:
        raise InputError(
            f"{source}: stage `{names[-1]}` is the last and preliminary; one that finds the best must follow"
        )
    sampled_before: set[str] = set()
    for stage in space.stages:
        where = f"{source}: stage `{stage.name}`"
        for name, value in stage.fixed.items():
            _check_value(where, config, name, value)
        for name, dimension in stage.sampled.items():
            _check_dimension(where, config, name, dimension)
            for other in [*dimension.when, *([dimension.same_as] if dimension.same_as else [])]:
                if other not in stage.fixed and other not in sampled_before:
                    raise InputError(
                        f"{where}: `{name}` depends on `{other}`, which must be fixed in the stage or sampled before"
                    )
            sampled_before.add(name)
        for name, value in ((name, value) for point in stage.points for name, value in point.items()):
            if name not in stage.sampled or not stage.sampled[name].holds(value):
                raise InputError(f"{where}: points: `{name}: {value}` is no value that the stage can sample")
    if len(set(space.metric)) != len(space.metric):
        raise InputError(f"{source}: metric: {', '.join(space.metric)} names one twice")
    return space


def _with_numbers(value: object) -> Any:  # whatever YAML holds
    """The value with `1e-3` as a number, which YAML 1.1 reads as text."""
    if isinstance(value, dict):
        return {name: _with_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_numbers(inner) for inner in value]
    is_number = isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)e[-+]?\d+", value, re.IGNORECASE)
    return float(value) if is_number else value


def _check_dimension(where: str, config: type[ScoringConfig], name: str, dimension: Dimension) -> None:
    (kind, value), *_ = dimension.kinds().items()
    try:
        check_field(config, name)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if kind in ("uniform", "log_uniform") and config.model_fields[name].annotation is int:
        raise InputError(f"{where}: `{name}` is an integer; sample it with integer or choice, not {kind}")
    if kind == "integer" and config.model_fields[name].annotation is not int:
        raise InputError(f"{where}: `{name}` is no integer; sample it with uniform, log_uniform or choice")
    if (kind == "choice" and not value) or (kind in ("uniform", "log_uniform", "integer") and value[0] > value[1]):
        raise InputError(f"{where}: `{name}` has an empty range: {kind} {list(value)}")
    if kind == "integer" and len(value) == 3 and value[2] < 1:
        raise InputError(f"{where}: `{name}`: integer has the step {value[2]}; it must be 1 or more")
    if kind == "log_uniform" and value[0] <= 0:
        raise InputError(f"{where}: `{name}`: log_uniform starts at {value[0]}; it must start above 0")
    for end in dimension.ends():
        _check_value(where, config, name, end)
    for other, allowed in dimension.when.items():
        for value_of_other in allowed:
            _check_value(where, config, other, value_of_other)


def _check_value(where: str, config: type[ScoringConfig], name: str, value: object) -> None:
    try:
        validated(config, {name: value})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
