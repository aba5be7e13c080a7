"""ERPCNet's policy as a module of RLlib: Eqs. 14 and 15, with the cells that may not be chosen masked.

π and V have one encoder, weights and all: Eq. 15 writes both with the same f_E.
"""

from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from methods.erpcnet.policy import FORBIDDEN


class LocalityModule(TorchRLModule, ValueFunctionAPI):
    """model_config: `encoder` and `hidden`, the widths of Eq. 14; `sigmoid_head`; `max_seq_len`, RLlib's own."""

    def setup(self) -> None:
        cells = int(self.action_space.n)
        encoder, hidden = self.model_config["encoder"], self.model_config["hidden"]
        self.width = self.observation_space.shape[0] - cells
        self.encoder_1 = nn.Linear(self.width, encoder)
        self.encoder_2 = nn.Linear(encoder, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.policy = nn.Linear(hidden, cells)
        self.value = nn.Linear(hidden, 1)

    def get_initial_state(self) -> dict[str, np.ndarray]:
        return {"hidden": np.zeros(self.gru.hidden_size, np.float32)}

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """(n, time)."""
        seen = self._encoded(batch)[0] if embeddings is None else embeddings
        return self.value(seen)[..., 0]

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        seen, hidden = self._encoded(batch)
        logits = self.policy(seen)
        if self.model_config["sigmoid_head"]:
            logits = logits.sigmoid()
        free = batch[Columns.OBS][..., self.width :] > 0.5
        return {
            Columns.ACTION_DIST_INPUTS: logits.masked_fill(~free, FORBIDDEN),
            Columns.STATE_OUT: {"hidden": hidden},
            Columns.EMBEDDINGS: seen,
        }

    def _encoded(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """What the heads see, (n, time, hidden), and the state after it, (n, hidden)."""
        own = batch[Columns.OBS][..., : self.width]
        inner = torch.relu(self.encoder_2(torch.relu(self.encoder_1(own))))
        seen, state = self.gru(inner, batch[Columns.STATE_IN]["hidden"][None].contiguous())
        return seen, state[0]
