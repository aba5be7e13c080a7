import numpy as np
import pytest

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.readers.held_out_origin import origin_notes

TRAIN, TEST = np.repeat([0, 1, 2, 3], [6, 6, 6, 6]), np.repeat([0, 1, 2, 3, 4], [4, 4, 4, 5, 4])  # class 4 is unseen


def validation(fitted, seen, pseudo):
    """A fold of so many samples a class 0, 1 (remaining), and 2, 3 (pseudo-unseen)."""
    counts = [(c, n, True) for c, n in enumerate(fitted)]
    counts += [(c, n, False) for c, n in enumerate(seen)] + [(c + 2, n, False) for c, n in enumerate(pseudo)]
    labels = np.concatenate([np.full(n, c) for c, n, _ in counts])
    return Contents(
        name="val",
        modality="skeleton",
        licence="",
        source="made here",
        classes=[ClassInfo(name=f"class {c}") for c in range(5)],
        labels=labels,
        train=np.concatenate([np.full(n, train) for _, n, train in counts]),
        features={"f": FeatureArray(np.ones((len(labels), 1)), "x")},
        splits={"given": ClassSplit(unseen=["class 2", "class 3"], source="made up")},
    )


@pytest.mark.parametrize(
    ("fold", "seen", "pseudo", "matters"),
    [
        (  # all that trains is trained on, so that what is held out can only be of the test
            validation((6, 6), (3, 4), (4, 5)),
            "all of its 7 samples must be of the test partition",
            "its 9 samples are, class by class, as many as the test partition has: taken to be of it",
            True,
        ),
        (  # one sample a class is left of the training partition
            validation((5, 5), (3, 3), (7, 6)),
            "at least 4 of its 6 samples must be of the test partition",
            "at least 1 of its 13 samples must be of the test partition",
            True,
        ),
        (
            validation((5, 3), (1, 3), (6, 6)),
            "its 4 samples are, class by class, as many as the training partition has: taken to be of it",
            "its 12 samples are, class by class, as many as the training partition has: taken to be of it",
            False,
        ),
        (
            validation((3, 3), (2, 2), (3, 3)),
            "counts do not tell whether its 4 samples are of the training partition or of the test partition",
            "counts do not tell whether its 6 samples are of the training partition or of the test partition",
            True,
        ),
    ],
)
def test_counts_tell_of_which_partition_held_out_samples_are(fold, seen, pseudo, matters):
    notes = origin_notes(TRAIN, TEST, fold)
    assert notes[0].startswith(f"validation/: val.npy (remaining seen classes): {seen}")
    assert notes[1].startswith(f"validation/: ztest.npy (pseudo-unseen classes): {pseudo}")
    assert [("seen accuracy and H promise too much" in note) for note in notes[2:]] == [True] * matters
