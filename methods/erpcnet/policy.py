"""ERPCNet's policy π, which chooses where to look (Eqs. 14 and 15), from plain matrices: without Ray and RLlib.

The paper ends π with a sigmoid (Eq. 15). That fits a policy whose action is a place in 0 … 1; as the logits of cells it
keeps the most and the least likely one within a factor e of each other, which is nearly uniform. It is an option here.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from platform.population.layers import uniform

FORBIDDEN = -1e9  # the logit of a visited cell; finite, since RLlib pads with observations in which no cell is free


def first_weights(
    embedding: int, cells: int, draw: torch.Generator, encoder: int = 1024, hidden: int = 256
) -> dict[str, Tensor]:
    """Each layer's matrix (rows, columns) and bias (1, columns), as PyTorch starts them. encoder, hidden: of Eq. 14.

    `gru_in` and `gru_hidden` have 3·hidden columns: the gates that reset, that update, and the new state.
    """
    weights = {}
    for name, rows, columns in (
        ("encoder_1", embedding, encoder),
        ("encoder_2", encoder, hidden),
        ("gru_in", hidden, 3 * hidden),
        ("gru_hidden", hidden, 3 * hidden),
        ("policy", hidden, cells),
        ("value", hidden, 1),
    ):
        weights[name] = uniform(rows, rows, columns, draw)
        weights[f"{name}_bias"] = uniform(rows, 1, columns, draw)
    return weights


class LocalityPolicy:
    """The policy of some weights, on their device."""

    def __init__(self, weights: Mapping[str, Tensor], sigmoid_head: bool = False) -> None:
        self.weights, self.sigmoid_head = dict(weights), sigmoid_head
        gates = "gru_in", "gru_hidden"
        self._gates = [weights[name].T.contiguous() for name in gates] + [weights[f"{name}_bias"][0] for name in gates]

    def start(self, n: int, device: torch.device | str) -> Tensor:
        """(n, hidden): the state that nothing has come before."""
        return torch.zeros(n, self.weights["encoder_2"].shape[1], device=device)

    def logits(self, embedding: Tensor, mask: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(n, G), very low for a cell that may not be chosen, and the next hidden state.

        embedding: (n, E); mask: (n, G) bool, true where a cell may be chosen; hidden: (n, hidden).
        """
        inner = self._layer("encoder_2", self._layer("encoder_1", embedding).relu()).relu()
        hidden = torch.gru_cell(inner, hidden, *self._gates)
        logits = self._layer("policy", hidden)
        return (logits.sigmoid() if self.sigmoid_head else logits).masked_fill(~mask, FORBIDDEN), hidden

    def _layer(self, name: str, x: Tensor) -> Tensor:
        return torch.addmm(self.weights[f"{name}_bias"], x, self.weights[name])
