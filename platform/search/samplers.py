"""Optuna's samplers by name."""

import hashlib
import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from platform.configuration import nearest
from platform.errors import InputError

_SAMPLERS = {
    "random": optuna.samplers.RandomSampler,
    "tpe": optuna.samplers.TPESampler,
    "gp": optuna.samplers.GPSampler,
    "cmaes": optuna.samplers.CmaEsSampler,
    "qmc": optuna.samplers.QMCSampler,
    "nsgaii": optuna.samplers.NSGAIISampler,
}
_OPTIONS = {"tpe": {"constant_liar": True, "multivariate": True}, "qmc": {"scramble": True}}


def check_sampler(name: str, metrics: Sequence[str]) -> None:
    """Raise InputError unless Optuna's sampler of that name is known here and can be used for these metrics."""
    if name not in _SAMPLERS:
        raise InputError(f"sampler `{name}`{nearest(name, _SAMPLERS)}")
    if name == "cmaes" and len(metrics) > 1:
        raise InputError(f"sampler `cmaes` takes one metric, not {' and '.join(metrics)}; try nsgaii")
    if name == "cmaes" and importlib.util.find_spec("cmaes") is None:
        raise InputError("sampler `cmaes` needs the package cmaes: pip install cmaes")


def sampler_for(name: str, seed: int, stage: str, trial: int) -> BaseSampler:
    """A sampler seeded by the search's seed, the stage and the trial.

    So a resumed search draws what it would have drawn; a sampler seeded once would repeat its first points. `qmc` is
    one sequence, of which each trial takes the next point: it is seeded by the stage.
    """
    names = (seed, stage) if name == "qmc" else (seed, stage, trial)

    def named(*field: str) -> BaseSampler:
        number = int.from_bytes(hashlib.sha256(repr((*names, *field)).encode()).digest()[:4], "big")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return _SAMPLERS[name](seed=number, **_OPTIONS.get(name, {}))

    return _NamedDraws(named)


class _NamedDraws(BaseSampler):
    """A sampler that is seeded for each field as well.

    Optuna stores field by field: a trial that was killed between two of them resumes with the same draws.
    """

    def __init__(self, named: Callable[..., BaseSampler]) -> None:
        self.named, self.joint = named, named()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.joint.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.joint.sample_relative(study, trial, dict(search_space))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # whatever the field holds
        return self.named(str(trial.number), param_name).sample_independent(
            study, trial, param_name, param_distribution
        )

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.joint.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self.joint.after_trial(study, trial, state, values)
