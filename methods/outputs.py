"""Decoders whose outputs are cut off at zero, and features that lie below."""

import warnings
from collections.abc import Sequence

from platform.errors import InputWarning
from platform.method import Member

_said: set[str] = set()  # methods, in this process


def warn_of_relu(method: str, members: Sequence[Member]) -> None:
    """Warn, once for a method, where members whose `output_relu` is on are to reconstruct negative features."""
    tasks = {id(m.task): m.task for m in members if m.config.output_relu}
    least = min((task.features.min().item() for task in tasks.values()), default=0.0)
    if least < 0 and method not in _said:
        _said.add(method)
        warnings.warn(
            f"{method}, output_relu=true: the features reach down to {least:.3g}, and decoders cut off at zero cannot "
            "reconstruct what lies below it; choose --normalise none or minmax where they then are not negative, or "
            "--set output_relu=false",
            InputWarning,
            stacklevel=3,
        )
