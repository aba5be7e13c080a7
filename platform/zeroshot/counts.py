"""How many classes a model chooses among, and how many samples it is scored on."""

from collections.abc import Sequence

from platform.zeroshot.task import Samples


def counts_of(seen: Sequence[str], unseen: Sequence[str], samples: Samples) -> dict[str, int]:
    """`seen` and `unseen` classes, and `seen_samples` and `unseen_samples`, the samples of each side.

    samples: the scored ones, classes numbered seen first. They may differ from the card's test partition.
    """
    of_seen = int((samples.labels < len(seen)).sum())
    sides = {"seen": len(seen), "unseen": len(unseen)}
    return {**sides, "seen_samples": of_seen, "unseen_samples": len(samples.labels) - of_seen}
