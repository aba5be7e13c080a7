"""Successive halving: at each rung, after a few epochs, only the best go on (ASHA; Li et al., MLSys 2020)."""

import math
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field


class Halving(BaseModel):
    """Of the configurations that reach a rung, the best one in `reduction` goes on, whenever they come."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reduction: int = Field(3, ge=2, description="one in so many goes on at each rung (ASHA's eta)")
    fewest_epochs: int = Field(2, ge=1, description="before which nothing is stopped")

    def rungs(self, epochs: int) -> list[int]:
        """Counts of epochs, of `epochs` in all, after which it is decided: …, epochs/eta², epochs/eta."""
        found, rung = [], epochs // self.reduction
        while rung >= self.fewest_epochs:
            found.append(rung)
            rung //= self.reduction
        return found[::-1]

    def stopped(self, reached: Mapping[int, float], best_is_high: bool) -> set[int]:
        """Those that do not go on, of all that ever reached a rung, from what they had reached there."""
        places = max(1, math.ceil(len(reached) / self.reduction))
        ranked = sorted(reached, key=lambda number: (-reached[number] if best_is_high else reached[number], number))
        return set(ranked[places:])
