"""Annealing schedules, as functions of the share of an epoch that is done, or of its steps."""

import torch
from torch import Tensor


def epoch_progress(steps: int) -> Tensor:
    """(steps,) the share k/n of an epoch's samples that was used before each step."""
    return torch.arange(steps, dtype=torch.float32) / steps


def ramp(progress: Tensor, start: float) -> Tensor:
    """Zero until `start`, then linear to 1 at the end of the epoch (SA-DVAE, Eq. 13 with start 1/3)."""
    return ((progress - start) / (1 - start)).clamp_min(0.0)


def rising(steps: int, start: int, rate: float) -> Tensor:
    """(steps,) zero until step `start`, then more by `rate` with every step (a cycle of SynSE, Section 2.6)."""
    return rate * (torch.arange(steps, dtype=torch.float32) - start).clamp_min(0.0)


def switched_on(steps: int, start: int) -> Tensor:
    """(steps,) zero until step `start`, then one (a cycle of SynSE, Section 2.6)."""
    return (torch.arange(steps) > start).float()


def warm_up(progress: float, start: float, end: float) -> float:
    """Zero until `start`, then linear to one at `end`, and one from there on (CADA-VAE)."""
    return min(max((progress - start) / (end - start), 0.0), 1.0) if end > start else float(progress > start)
