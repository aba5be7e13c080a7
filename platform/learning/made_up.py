"""A small made-up task on which a method can be tried in seconds."""

import torch

from platform.population.draws import generator
from platform.zeroshot.task import Task

SEEN, FEATURES, TEXT = 6, 16, 12


def made_up(seed: int, unseen: int, samples: int, parts: int = 1, side: int = 0) -> Task:
    """A task whose features follow the class text, with `samples` of each of 6 seen classes.

    parts: of a class's text, one after the other; side: of square pictures in place of numbers, 0 for numbers.
    """
    draw = generator(seed, "made-up task")
    count = SEEN + unseen
    texts = [torch.nn.functional.normalize(torch.randn(count, TEXT, generator=draw), dim=1) for _ in range(parts)]
    semantics = torch.cat(texts, dim=1)
    labels = torch.arange(SEEN).repeat_interleave(samples)
    names = [f"class {number}" for number in range(count)]
    if side:
        colours = 255 * torch.rand(count, 3, generator=draw)
        noise = 40 * torch.randn(len(labels), 3, side, side, generator=draw)
        features = (colours[labels][:, :, None, None] + noise).clamp(0, 255).to(torch.uint8).flatten(1)
    else:
        prototypes = 2 * semantics @ torch.randn(semantics.shape[1], FEATURES, generator=draw)
        features = prototypes[labels] + 0.3 * torch.randn(len(labels), FEATURES, generator=draw)
    return Task(tuple(names[:SEEN]), tuple(names[SEEN:]), features, labels, semantics)
