"""GRAMMAR-R by a masked language model (Eq. 5): how likely each token of a caption is, given the others."""

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from methods.regen.discriminator import GrammarDiscriminator, train_discriminator
from methods.regen.pretrained import configuration, loading, network, tokenizer
from platform.errors import InputError

__all__ = [
    "GrammarDiscriminator",
    "MaskedLanguageModel",
    "load_masked_lm",
    "shared_masked_lm",
    "train_discriminator",
]

_ROWS = 512  # masked texts a pass


def load_masked_lm(name: str, device: torch.device | str) -> "MaskedLanguageModel":
    """BERT, DistilBERT, DeBERTa (Table 3), or another masked language model of transformers, frozen.

    name: a Hugging Face id or a folder; weights are read from safetensors files alone.

    Raises InputError where there is no such model, it is of another kind, or a part of it is missing.
    """
    what = "grammar"
    with loading(name, what):
        config = configuration(name)
        model = _network(name, what, config)
        words = tokenizer(name, what, config.vocab_size)
        if words.mask_token_id is None:
            raise InputError(f"{what} `{name}`: its tokenizer has no mask; give a masked language model")
    return MaskedLanguageModel(model, words).to(device)


def _network(name: str, what: str, config: Any) -> nn.Module:
    """DeBERTa's published weights have another head than transformers gives the model unless it is told (`legacy`)."""
    from transformers import AutoModelForMaskedLM

    if getattr(config, "legacy", False):
        with suppress(InputError):  # a model that was trained with the head that is usual in transformers
            return network(AutoModelForMaskedLM, name, what, legacy=False)
    return network(AutoModelForMaskedLM, name, what)


class MaskedLanguageModel(nn.Module):
    """log L_θ(u_j | U_/j) of the tokens u_j of texts, by a model that is not trained.

    U is a text in the model's own tokens, without those that it puts at both ends. rows: how many masked texts go
    through the model in a pass.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, rows: int = _ROWS) -> None:
        super().__init__()
        self.model, self.tokenizer, self.rows = model, tokenizer, rows
        self.requires_grad_(False).eval()
        self._masked: Tensor | None = None  # (R, 1) the masked place of each row of a pass
        # the head, whose output is as wide as the vocabulary, then sees the masked places alone
        model.base_model.register_forward_hook(self._masked_places)

    def train(self, mode: bool = True) -> "MaskedLanguageModel":
        """The model stays in evaluation mode, also where a module that holds it is trained."""
        return super().train(False)

    def scores(self, texts: Sequence[str]) -> Tensor:
        """(N,) float32, GRAMMAR-R_LM of Eq. 5: the mean over a text's tokens.

        A text without any, for which Eq. 5 has no value, is worth as much as a token that is drawn at random.
        """
        found = self.per_token(texts)
        of_nothing = -math.log(self.model.config.vocab_size)
        means = [own.mean() if len(own) else own.new_tensor(of_nothing) for own in found]
        return torch.stack(means) if texts else self._none()

    @torch.no_grad()
    def per_token(self, texts: Sequence[str]) -> list[Tensor]:
        """A float32 tensor a text, (|U|,): the terms of Eq. 5's sum, a reward for each token (3.2.3).

        Each token of each text is a row that masks it. Rows of texts of like length go through the model together,
        `rows` at a time. A text longer than the model's positions is cut off at its end.
        """
        ids, rows = self._rows(texts)
        order = sorted(range(len(rows)), key=lambda row: len(ids[rows[row][0]]))
        starts = range(0, len(order), self.rows)
        parts = [self._pass(ids, [rows[row] for row in order[start : start + self.rows]]) for start in starts]
        found = torch.cat(parts)[torch.tensor(order).argsort().to(self._device)] if parts else self._none()
        counts = Counter(text for text, _ in rows)
        return list(found.split([counts[text] for text in range(len(texts))]))

    def _rows(self, texts: Sequence[str]) -> tuple[list[list[int]], list[tuple[int, int]]]:
        """Each text's tokens with its ends, and of each row the text and the masked place."""
        if not texts:
            return [], []
        longest = self.tokenizer.model_max_length
        longest = min(longest, getattr(self.model.config, "max_position_embeddings", longest))
        found = self.tokenizer(list(texts), truncation=True, max_length=longest, return_special_tokens_mask=True)
        ends = enumerate(found["special_tokens_mask"])
        return found["input_ids"], [(text, place) for text, own in ends for place, end in enumerate(own) if not end]

    def _pass(self, ids: list[list[int]], rows: list[tuple[int, int]]) -> Tensor:
        """(R,) log-probabilities of the masked tokens of so many rows."""
        lengths = torch.tensor([len(ids[text]) for text, _ in rows])
        longest, filling = int(lengths.max()), self.tokenizer.pad_token_id
        tokens = torch.tensor([ids[text] + [filling] * (longest - len(ids[text])) for text, _ in rows])
        seen = (torch.arange(longest) < lengths[:, None]).long().to(self._device)
        masked = torch.tensor([[place] for _, place in rows]).to(self._device)
        tokens = tokens.to(self._device)
        true = tokens.gather(1, masked)
        self._masked = masked
        try:
            masked_tokens = tokens.scatter(1, masked, self.tokenizer.mask_token_id)
            logits = self.model(input_ids=masked_tokens, attention_mask=seen).logits[:, 0].float()
        finally:
            self._masked = None
        return logits.log_softmax(dim=-1).gather(1, true)[:, 0]

    def _masked_places(self, _: nn.Module, __: Any, output: Any) -> Any:
        """The base model's output with one place a row, the masked one."""
        if self._masked is not None:
            hidden = output.last_hidden_state
            output.last_hidden_state = hidden.gather(1, self._masked[..., None].expand(-1, -1, hidden.shape[-1]))
        return output

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _none(self) -> Tensor:
        return torch.empty(0, device=self._device)


# the same frozen model for all members of a population
shared_masked_lm = lru_cache(maxsize=2)(load_masked_lm)
