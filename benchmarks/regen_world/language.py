"""The world's masked language model: BERT's architecture, on the corpus alone (Devlin et al., 2019)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from benchmarks.regen_world.fitting import begin, fit
from benchmarks.regen_world.tokens import LENGTH

_WIDTH, _LAYERS, _BATCH, _MASKED = 96, 2, 64, 0.15


def trained_language_model(
    sentences: Sequence[str], tokenizer: PreTrainedTokenizerFast, effort: float, rng: np.random.Generator
) -> BertForMaskedLM:
    """effort: 1 is some twenty seconds of one core."""
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=_WIDTH, intermediate_size=3 * _WIDTH, num_hidden_layers=_LAYERS,
            num_attention_heads=4, max_position_embeddings=LENGTH, type_vocab_size=1, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0, pad_token_id=tokenizer.pad_token_id,
        )
    ).train()  # fmt: skip
    begin(model)
    tokens = tokenizer(list(sentences), padding=True, return_tensors="pt")

    def loss() -> Tensor:
        rows = torch.from_numpy(rng.integers(len(sentences), size=_BATCH))
        ids, attention = tokens.input_ids[rows], tokens.attention_mask[rows]
        masked = _drawn_mask(ids, tokenizer, rng)
        logits = model(input_ids=ids.masked_fill(masked, tokenizer.mask_token_id), attention_mask=attention).logits
        return cross_entropy(logits[masked], ids[masked])

    fit(model.parameters(), round(500 * effort), 2e-3, loss)
    return model.eval()


@torch.no_grad()
def masked_accuracy(
    model: BertForMaskedLM, tokenizer: PreTrainedTokenizerFast, sentences: Sequence[str]
) -> tuple[float, float, int]:
    """Of words masked one at a time: the share told right, the share of the most frequent word, and their count."""
    right, words = 0, []
    for text in sentences:
        ids = tokenizer(text, return_tensors="pt").input_ids
        places = torch.arange(1, ids.shape[1] - 1)
        rows = ids.repeat(len(places), 1)
        rows[torch.arange(len(places)), places] = tokenizer.mask_token_id
        told = model(input_ids=rows).logits[torch.arange(len(places)), places].argmax(dim=-1)
        right += int((told == ids[0, places]).sum())
        words += ids[0, places].tolist()
    return right / len(words), np.bincount(words).max() / len(words), len(words)


def _drawn_mask(ids: Tensor, tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator) -> Tensor:
    """(N, L) True where a word is masked; at least one in the batch."""
    words = (ids != tokenizer.pad_token_id) & (ids != tokenizer.cls_token_id) & (ids != tokenizer.sep_token_id)
    masked = words & (torch.from_numpy(rng.random(tuple(ids.shape))) < _MASKED)
    return masked if masked.any() else words
