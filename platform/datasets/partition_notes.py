"""Faults of a data set's partitions: samples in both, classes without training samples."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from platform.datasets.contents import ClassSplit, Contents, FeatureArray
from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.splits import published_splits

_CHUNK = 4096  # rows in memory at once: a memory-mapped array stays one

_NAMED = 6  # classes without any sample: a data set may lack a hundred


def partition_notes(contents: Contents) -> list[str]:
    """A line each, for the card: duplicates between partitions, classes without samples or without training samples."""
    return [*_duplicates(contents), *_shared_with_validation(contents), *_empty_classes(contents)]


def _duplicates(contents: Contents) -> list[str]:
    """Test samples that are byte-identical to a training sample, by what was found to be identical."""
    train = np.asarray(contents.train, bool)
    found: dict[bytes, list[str]] = {}
    for name, digests in _digests(contents):
        training = {d for d, trains in zip(digests, train.tolist(), strict=True) if trains}
        doubled = np.array([not trains and d in training for d, trains in zip(digests, train.tolist(), strict=True)])
        if doubled.any():
            found.setdefault(doubled.tobytes(), []).append(name)
    count = int((~train).sum())
    return [
        f"{int(np.frombuffer(doubled, bool).sum()):,} of {count:,} test samples are byte-identical to training samples "
        f"({', '.join(names)}): they test what was trained on"
        for doubled, names in found.items()
    ]


def _shared_with_validation(contents: Contents) -> list[str]:
    """Samples that validation holds out and that the test has too, found where both have the same extractor."""
    validation = contents.validation
    if validation is None:
        return []
    test, held_out = ~np.asarray(contents.train, bool), ~np.asarray(validation.train, bool)
    theirs, notes = dict(_digests(validation)), []
    for name, digests in _digests(contents):
        if name not in theirs:
            continue
        tested = {d for d, is_test in zip(digests, test.tolist(), strict=True) if is_test}
        shared = sum(d in tested for d, held in zip(theirs[name], held_out.tolist(), strict=True) if held)
        if shared:
            notes.append(
                f"validation/: {shared:,} of its {int(held_out.sum()):,} held-out samples are byte-identical to test "
                f"samples ({name}): what is chosen on them has seen the test"
            )
    return notes


def _digests(contents: Contents) -> Iterator[tuple[str, list[bytes]]]:
    """Of the raw clips and of each feature set: one digest a sample, of the bytes that are written."""
    if contents.skeletons is not None:
        clips = (np.ascontiguousarray(clip, np.float32) for clip in contents.skeletons.clips)
        yield "skeletons", [_digest(repr(clip.shape).encode() + clip.tobytes()) for clip in clips]
    for name, feature_set in contents.features.items():
        yield f"`{name}`", _row_digests(feature_set)


def _row_digests(feature_set: FeatureArray) -> list[bytes]:
    values = feature_set.values
    if isinstance(values, EncodedFrames):
        return [values.digest(row) for row in range(len(values))]
    dtype, digests = np.uint8 if feature_set.kind == "pixels" else np.float32, []
    for start in range(0, len(values), _CHUNK):
        rows = np.ascontiguousarray(values[start : start + _CHUNK], dtype)
        digests += [_digest(row.data) for row in rows]
    return digests


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _empty_classes(contents: Contents) -> list[str]:
    names = [c.name for c in contents.classes]
    present = {names[i] for i in np.unique(contents.labels)}
    trained = {names[i] for i in np.unique(contents.labels[np.asarray(contents.train, bool)])}
    notes = []
    if absent := [name for name in names if name not in present]:
        more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
        notes.append(f"{len(absent)} of {len(names)} classes have no sample at all: {', '.join(absent[:_NAMED])}{more}")
    splits = {**published_splits(contents.class_list, names), **contents.splits}
    return notes + _seen_without_training(splits, [name for name in names if name in present - trained])


def _seen_without_training(splits: Mapping[str, ClassSplit], untrained: Sequence[str]) -> list[str]:
    """untrained: classes that have samples, but none to train on."""
    left_out: dict[tuple[str, ...], list[str]] = {}
    for split_name, split in splits.items():
        if lost := tuple(name for name in untrained if name not in set(split.unseen)):
            left_out.setdefault(lost, []).append(split_name)
    notes = [
        f"seen by split {', '.join(named)}, but without training samples, and so left out there: {', '.join(lost)}"
        for lost, named in left_out.items()
    ]
    if untrained and not splits:
        notes.append(f"without training samples, and so left out of every split that sees them: {', '.join(untrained)}")
    return notes
