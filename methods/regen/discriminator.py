"""GRAMMAR-R by a discriminator (Eq. 6): whether a caption is correct, or has words moved, repeated, added or left out.

Perturbations are of the words of a caption, parted at spaces, and not of a tokenizer's pieces: what is perturbed is
so a text again, and goes the way of a caption that is scored.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from methods.regen.clip_towers import ClipTowers
from platform.errors import InputError
from platform.population.draws import generator, named_draws, shuffled_rows

_BATCH = 256  # texts a pass
_TRIES = 20  # to change a caption, before a word of it is repeated


class GrammarDiscriminator(nn.Module):
    """d(w): CLIP's text tower, trained further, with a linear head on its embedding. losses: the mean of each epoch."""

    def __init__(self, clip: ClipTowers) -> None:
        super().__init__()
        self.tower = clip.trainable_text_tower()
        self._token_ids = clip.token_ids
        with torch.no_grad():
            width = self.tower(clip.token_ids([""])).shape[-1]
        self.head = nn.Linear(width, 1).to(clip.device)
        self.losses: list[float] = []

    def forward(self, texts: Sequence[str]) -> Tensor:
        """(N,) logits of a text's being correct, with gradients."""
        return self.head(self.tower(self._token_ids(texts).to(self.head.weight.device)))[:, 0]

    @torch.no_grad()
    def scores(self, texts: Sequence[str]) -> Tensor:
        """(N,) float32 in 0 … 1, GRAMMAR-R_d of Eq. 6: the probability that a text is correct."""
        parts = [self(texts[start : start + _BATCH]).float().sigmoid() for start in range(0, len(texts), _BATCH)]
        return torch.cat(parts) if parts else torch.empty(0, device=self.head.weight.device)


def train_discriminator(
    captions: Sequence[str],
    clip: ClipTowers,
    seed: int,
    epochs: int = 10,
    batch_size: int = 256,
    learning_rate: float = 1e-4,
) -> GrammarDiscriminator:
    """A discriminator that tells captions (1) from their perturbations (0), by binary cross-entropy and AdamW (3.2.3).

    captions: correct ones, as REST's pseudo-captions are held to be. Half of a batch are captions, half perturbations
    of the same ones, drawn anew in each epoch. What it returns is in evaluation mode and frozen.

    Raises InputError where there is no caption.
    """
    captions = [" ".join(words) for words in (caption.split() for caption in captions) if words]
    if not captions:
        raise InputError("the grammar discriminator has no caption to learn from; give a corpus with one a line")
    with named_draws(clip.device, seed, "grammar discriminator"):
        found = GrammarDiscriminator(clip)
    optimiser = torch.optim.AdamW(found.parameters(), lr=learning_rate)
    pairs = min(len(captions), max(1, batch_size // 2))
    for epoch in range(epochs):
        draw = generator(seed, "grammar perturbations", epoch)
        steps = []
        for rows in shuffled_rows(len(captions), pairs, draw).tolist():
            correct = [captions[row] for row in rows]
            logits = found([*correct, *(perturbed(own, captions, draw) for own in correct)])
            targets = torch.cat([torch.ones(pairs), torch.zeros(pairs)]).to(logits.device)
            loss = binary_cross_entropy_with_logits(logits.float(), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps.append(loss.detach())
        found.losses.append(float(torch.stack(steps).mean()))
    return found.requires_grad_(False).eval()


def perturbed(caption: str, others: Sequence[str], draw: torch.Generator) -> str:
    """The caption with one error: words or groups of words swapped, shuffled, repeated, inserted or removed (3.2.3).

    Never the caption itself. others: captions that words are inserted from.
    """
    words = caption.split()
    for _ in range(_TRIES):
        error = _ERRORS[_below(len(_ERRORS), draw)]
        found = error(words, others, draw)
        if found and found != words:
            return " ".join(found)
    return " ".join([*words, *words[-1:]])


def _swapped(words: list[str], _: Sequence[str], draw: torch.Generator) -> list[str]:
    """Two groups of equal length, which do not overlap, in each other's place."""
    length = 1 + _below(max(1, len(words) // 2), draw)
    if len(words) < 2 * length:
        return words
    first = _below(len(words) - 2 * length + 1, draw)
    second = first + length + _below(len(words) - first - 2 * length + 1, draw)
    one, other = words[first : first + length], words[second : second + length]
    return [*words[:first], *other, *words[first + length : second], *one, *words[second + length :]]


def _shuffled(words: list[str], _: Sequence[str], draw: torch.Generator) -> list[str]:
    start, end = _group(words, draw, len(words))
    order = (torch.randperm(end - start, generator=draw) + start).tolist()
    return [*words[:start], *(words[place] for place in order), *words[end:]]


def _repeated(words: list[str], _: Sequence[str], draw: torch.Generator) -> list[str]:
    start, end = _group(words, draw, len(words) // 2)
    return [*words[:end], *words[start:end], *words[end:]]


def _inserted(words: list[str], others: Sequence[str], draw: torch.Generator) -> list[str]:
    strange = others[_below(len(others), draw)].split()
    start, end = _group(strange, draw, len(words) // 2)
    place = _below(len(words) + 1, draw)
    return [*words[:place], *strange[start:end], *words[place:]]


def _removed(words: list[str], _: Sequence[str], draw: torch.Generator) -> list[str]:
    start, end = _group(words, draw, len(words) // 2)
    return [*words[:start], *words[end:]]


_ERRORS: list[Callable[[list[str], Sequence[str], torch.Generator], list[str]]] = [
    _swapped,
    _shuffled,
    _repeated,
    _inserted,
    _removed,
]


def _group(words: list[str], draw: torch.Generator, longest: int) -> tuple[int, int]:
    """Where a group of words begins and ends: one word at least, `longest` at most where that is more."""
    length = 1 + _below(max(1, min(longest, len(words))), draw)
    start = _below(len(words) - length + 1, draw)
    return start, start + length


def _below(count: int, draw: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=draw))
