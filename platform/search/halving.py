"""Successive halving: at each rung, after a few epochs, only the best go on (ASHA; Li et al., MLSys 2020)."""

import math
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field


class Halving(BaseModel):
    """Of all configurations that have reached a rung so far, the best 1/`reduction` go on (asynchronous)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reduction: int = Field(3, ge=2, description="reduction factor η (ASHA): at each rung the best 1/η go on")
    fewest_epochs: int = Field(2, ge=1, description="epochs before which no configuration is stopped")

    def rungs(self, epochs: int) -> list[int]:
        """The epochs after which configurations are compared: …, epochs/η², epochs/η."""
        found, rung = [], epochs // self.reduction
        while rung >= self.fewest_epochs:
            found.append(rung)
            rung //= self.reduction
        return found[::-1]

    def stopped(self, reached: Mapping[int, float], best_is_high: bool) -> set[int]:
        """Those that stop, of all that have reached a rung, by their values there."""
        places = max(1, math.ceil(len(reached) / self.reduction))
        ranked = sorted(reached, key=lambda number: (-reached[number] if best_is_high else reached[number], number))
        return set(ranked[places:])
