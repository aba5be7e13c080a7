"""Whether the samples that a SynSE-layout `val` folder holds out are of the test partition, told from counts.

The folder's features come from another extractor than the data set's, so that no row can be found again there; what can
be compared is how many samples a class has. SA-DVAE's authors say that theirs are of the test partition (`val`: the
remaining seen classes in the cross-subject test partition; `ztest`: the pseudo-unseen ones there).
"""

from collections.abc import Mapping

import numpy as np

from platform.datasets.contents import Contents

_SEEN, _PSEUDO = "val.npy (remaining seen classes)", "ztest.npy (pseudo-unseen classes)"
_MATTERS = (
    "epochs, configurations and gates are then chosen on samples that the test counts among its seen classes: seen "
    "accuracy and H promise too much; ZSL does not, no unseen class is among them"
)
_Counts = Mapping[int, int]  # samples by class


def origin_notes(train: np.ndarray, test: np.ndarray, validation: Contents) -> list[str]:
    """What the card says of the samples that validation holds out.

    train, test: (N,) labels of the data set's partitions. It is assumed that the validation folder has no sample that
    is not the data set's, and that its training samples are of the training partition.
    """
    pseudo = {i for i, c in enumerate(validation.classes) if c.name in validation.splits["given"].unseen}
    fitted, held_out = _counts(validation.labels[validation.train]), _counts(validation.labels[~validation.train])
    parts = {
        _SEEN: {c: n for c, n in held_out.items() if c not in pseudo},
        _PSEUDO: {c: n for c, n in held_out.items() if c in pseudo},
    }
    training, testing = _counts(train), _counts(test)
    said = {part: _origin(own, fitted, training, testing) for part, own in parts.items() if own}
    notes = [f"validation/: {part}: {origin}" for part, origin in said.items()]
    if any("test partition" in origin for origin in said.values()):
        notes.append(f"validation/: where samples are of the test partition, {_MATTERS}")
    return notes


def _origin(held_out: _Counts, fitted: _Counts, training: _Counts, testing: _Counts) -> str:
    """Of which partition a part's samples are. fitted: what the validation extractor was trained on."""
    left = {c: training.get(c, 0) - fitted.get(c, 0) for c in held_out}  # training samples that it was not trained on
    count = sum(held_out.values())
    beyond = sum(max(0, n - max(0, left[c])) for c, n in held_out.items())
    if beyond:
        share = "all" if beyond == count else f"at least {beyond:,}"
        return (
            f"{share} of its {count:,} samples must be of the test partition: the training partition has no others left"
        )
    as_training, as_test = held_out == left, all(testing.get(c) == n for c, n in held_out.items())
    if as_training != as_test:
        part = "training" if as_training else "test"
        return f"its {count:,} samples are, class by class, as many as the {part} partition has: taken to be of it"
    return f"counts do not tell whether its {count:,} samples are of the training partition or of the test partition"


def _counts(labels: np.ndarray) -> dict[int, int]:
    classes, counts = np.unique(labels, return_counts=True)
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))
