"""A task whose features are a linear map of class text."""

import torch

from platform.population.draws import generator
from platform.zeroshot.task import Task

SEEN, UNSEEN, WIDTH, TEXT = 6, 3, 10, 8


def make_task(seed=0, samples=90, noise=0.3, classes=SEEN + UNSEEN):
    """Features are a linear map of the classes' verb and noun vectors; classes 0 and 1 share a verb, 2 and 3 a noun."""
    draw = generator(seed, "task")
    verbs, nouns = (torch.randn(classes, TEXT // 2, generator=draw) for _ in range(2))
    verbs[1], nouns[3] = verbs[0], nouns[2]
    semantics = torch.cat([verbs, nouns], dim=1)
    labels = torch.arange(samples) % SEEN
    mixing = torch.randn(TEXT, WIDTH, generator=draw)
    features = semantics[labels] @ mixing + noise * torch.randn(samples, WIDTH, generator=draw)
    names = [f"class {i}" for i in range(classes)]
    task = Task(tuple(names[:SEEN]), tuple(names[SEEN:]), features, labels, semantics)
    unseen = torch.arange(60) % UNSEEN + SEEN
    others = semantics[unseen] @ mixing + noise * torch.randn(60, WIDTH, generator=draw)
    return task, others, unseen - SEEN
