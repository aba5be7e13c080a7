"""Optuna's samplers by name."""

import hashlib

import optuna

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


def check_sampler(name: str) -> None:
    """Raise InputError unless Optuna's sampler of that name is known here."""
    if name not in _SAMPLERS:
        raise InputError(f"sampler `{name}`{nearest(name, _SAMPLERS)}")


def sampler_for(name: str, seed: int, stage: str, trial: int) -> optuna.samplers.BaseSampler:
    """A sampler whose draws are named by the search's seed, the stage and the trial.

    A search that was killed and resumed so draws what it would have drawn; one sampler seeded once would repeat its
    first points. `qmc` is one sequence, in which a trial's number is its place: its seed is the stage's.
    """
    names = (seed, stage) if name == "qmc" else (seed, stage, trial)
    number = int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:4], "big")
    options = {"constant_liar": True, "multivariate": True} if name == "tpe" else {}
    return _SAMPLERS[name](seed=number, **options)
