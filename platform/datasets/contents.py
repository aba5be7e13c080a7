"""What a reader returns: arrays and classes in memory, checked before anything is written."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.trained_on import UNKNOWN, TrainedOn
from platform.errors import InputError

Normalisation = Literal["none", "scale", "standard", "minmax", "l2"]
FeatureKind = Literal["numbers", "pixels", "pictures", "frames"]
UnseenTest = Literal["all", "partition"]  # which samples of unseen classes are tested: see `Contents.unseen_test`
JointLayout = Literal["kinect_v1", "kinect_v2", "coco_17", "penn_13"]
# joints and axes of each layout: x, y, z of the Kinects; x, y in pixels and a score (0: not seen) of the others
JOINTS_AND_AXES: dict[JointLayout, tuple[int, int]] = {
    "kinect_v1": (20, 3),
    "kinect_v2": (25, 3),
    "coco_17": (17, 3),
    "penn_13": (13, 3),
}


class ClassInfo(BaseModel):
    """A class: its name and its descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    descriptions: dict[str, list[str]] = {}  # a set's name ("llm", "parts") to one or several texts
    verb: str | None = None
    noun: str | None = None
    attributes: list[float] | None = None


class ClassSplit(BaseModel):
    """Which classes are unseen, by name; the others are seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unseen: list[str]
    pseudo_unseen: list[list[str]] = []  # published folds of seen classes to hold out for validation
    source: str


@dataclass(frozen=True)
class FeatureArray:
    """One feature set. values: (N, D), any float type; `normalise` is what the methods should be given by default;
    trained_on: what its extractor has learned from.

    Of kind `pixels` the values are pictures: uint8, D = 3 · side · side, first the rows of the red plane, then of the
    green and the blue one. They may be a memory map, since they need not fit into memory. Of kind `pictures` they are
    encoded pictures, and of kind `frames` encoded frames, as a video's.
    """

    values: np.ndarray | EncodedFrames
    extractor: str
    normalise: Normalisation = "none"
    kind: FeatureKind = "numbers"
    trained_on: TrainedOn = UNKNOWN

    @property
    def side(self) -> int | None:
        """Pixels along the edge of a picture or frame; None of numbers."""
        if isinstance(self.values, EncodedFrames):
            return self.values.side
        return math.isqrt(self.values.shape[1] // 3) if self.kind == "pixels" else None

    @property
    def frames(self) -> int | None:
        """Of a sample; None of numbers and pictures."""
        return self.values.frames if self.kind == "frames" else None

    @property
    def dimension(self) -> int:
        """Numbers in a sample: of frames, once they are decoded."""
        return math.prod(self.values.shape[1:])

    def check(self, where: str, rows: int) -> None:
        """Raise InputError unless there is a sound row for each sample."""
        if self.kind != "numbers" and self.normalise != "none":
            raise InputError(
                f"{where}: normalise {self.normalise}; {self.kind} are given to a method as they are: none"
            )
        encoded = isinstance(self.values, EncodedFrames)
        if encoded != (self.kind in ("pictures", "frames")) or (encoded and self.values.kind != self.kind):
            raise InputError(f"{where}: of kind {self.kind}, but holds {type(self.values).__name__}")
        if encoded:
            _check_count(where, len(self.values), rows)
            return
        _check_matrix(where, self.values, rows)
        if self.kind == "numbers":
            return
        if self.values.dtype != np.uint8:
            raise InputError(f"{where}: pixels are {self.values.dtype}; expected uint8, 0 to 255")
        if 3 * self.side**2 != self.values.shape[1]:
            raise InputError(f"{where}: rows of {self.values.shape[1]} pixels; expected 3 x S x S, as 3 x 256 x 256")


def usual_normalisation(values: np.ndarray) -> Normalisation:
    """What Xian et al. and CADA-VAE do with a ResNet's rectified features, `minmax`; `scale` where some are negative.

    With negative ones `minmax` puts zero, which then means nothing, anywhere between 0 and 1. values: (N, D), read in
    chunks, since they may be a memory map.
    """
    rectified = all(values[start : start + 8192].min() >= 0 for start in range(0, len(values), 8192))
    return "minmax" if rectified else "scale"


@dataclass(frozen=True)
class Skeletons:
    """Raw clips, each (T, bodies, joints, axes) float32 with its own T; `layout` names the joint order and the axes.

    A body that is missing in a frame is all zeros there.
    """

    clips: Sequence[np.ndarray]
    layout: JointLayout


@dataclass(frozen=True)
class Contents:
    """A whole data set before it is written. N samples, C classes.

    labels: (N,) indices into `classes`; train: (N,) True in the official training partition; groups: (N,) subject,
    performer or scene, −1 where unknown; logits: (N, C) of a classifier trained on the seen classes, a row of NaN where
    a sample has none, and what that classifier was trained on; embeddings: name to (C, T); unseen_test: whether all
    samples of unseen classes are tested, since none was trained on (Xian et al., 2018; Xu et al., 2017), or only those
    of the test partition, as the published protocols of a data set have it (None: as its class list says); references:
    captions of each sample, against which a model's are measured, an empty list where it has none; notes: what
    the reader found odd or left out, a line each. Raw skeletons may come without features, for an extractor to make
    them.
    """

    name: str
    modality: Literal["skeleton", "image", "video"]
    licence: str
    source: str
    classes: Sequence[ClassInfo]
    labels: np.ndarray
    train: np.ndarray
    features: Mapping[str, FeatureArray]
    ids: Sequence[str] | None = None
    groups: np.ndarray | None = None
    class_list: str | None = None  # the published class order that `classes` follows, for the built-in splits
    unseen_test: UnseenTest | None = None
    splits: Mapping[str, ClassSplit] = field(default_factory=dict)
    embeddings: Mapping[str, np.ndarray] = field(default_factory=dict)
    logits: np.ndarray | None = None
    logits_trained_on: TrainedOn = UNKNOWN
    skeletons: Skeletons | None = None
    references: Sequence[Sequence[str]] | None = None
    notes: Sequence[str] = ()
    simulated: bool = False
    validation: "Contents | None" = None  # the same data through an extractor that never saw the pseudo-unseen classes

    def check(self) -> None:
        """Raise InputError at the first fault that would make a result wrong or a later step fail."""
        names = [c.name for c in self.classes]
        count, where = len(self.labels), f"data set `{self.name}`"
        if not count:
            raise InputError(f"{where}: no samples")
        if not self.features and self.skeletons is None:
            raise InputError(f"{where}: no feature set, and no skeletons to extract features from")
        for position, name in enumerate(names):
            if not name.strip():
                raise InputError(f"{where}: class {position} has no text; every class needs a name or a description")
        if len(set(names)) != len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise InputError(f"{where}: class `{twice}` is named twice; class names must differ")
        if self.labels.min() < 0 or self.labels.max() >= len(names):
            bad = self.labels[(self.labels < 0) | (self.labels >= len(names))][0]
            raise InputError(f"{where}: label {bad} is outside the {len(names)} classes (0 to {len(names) - 1})")
        numbered = {
            "ids": self.ids,
            "groups": self.groups,
            "partition": self.train,
            "lists of references": self.references,
        }
        for what, values in numbered.items():
            if values is not None and len(values) != count:
                raise InputError(f"{where}: {len(values)} {what} for {count} labels; the counts must agree")
        if self.ids is not None and len(set(self.ids)) != count:
            raise InputError(f"{where}: sample ids repeat; every sample needs its own")
        for name, feature_set in self.features.items():
            feature_set.check(f"{where}: feature set `{name}`", count)
            _check_trained_on(f"{where}: feature set `{name}`", feature_set.trained_on, names)
        _check_trained_on(f"{where}: logits", self.logits_trained_on, names)
        if self.logits is not None and self.logits.shape != (count, len(names)):
            raise InputError(f"{where}: logits are {self.logits.shape}, expected ({count}, {len(names)}): all classes")
        if self.logits is not None:
            partial = ~np.isfinite(self.logits).all(axis=1) & ~np.isnan(self.logits).all(axis=1)
            if partial.any():
                row = int(np.argmax(partial))
                raise InputError(f"{where}: logits row {row} must be finite, or NaN throughout where there are none")
        if self.skeletons is not None and len(self.skeletons.clips) != count:
            raise InputError(f"{where}: {len(self.skeletons.clips)} skeleton clips for {count} labels")
        if self.skeletons is not None:
            self._check_clips(where)
        for name, embedding in self.embeddings.items():
            _check_matrix(f"{where}: class embedding `{name}`", embedding, len(names))
        described = sum(c.attributes is not None for c in self.classes)
        if described not in (0, len(names)):
            raise InputError(f"{where}: {described} of {len(names)} classes have attributes; all or none must")
        for name, split in self.splits.items():
            check_split(f"{where}: split `{name}`", split, names)
        if self.validation is not None:
            self.validation.check()

    def _check_clips(self, where: str) -> None:
        expected = JOINTS_AND_AXES[self.skeletons.layout]
        for index, clip in enumerate(self.skeletons.clips):
            if clip.ndim != 4 or not clip.shape[0] or not clip.shape[1] or clip.shape[2:] != expected:
                raise InputError(
                    f"{where}: clip {index} is {clip.shape}; layout {self.skeletons.layout} needs (frames, bodies, "
                    f"{expected[0]}, {expected[1]})"
                )
            if not np.isfinite(clip).all():
                raise InputError(f"{where}: clip {index} holds NaN or infinity; it must be finite")


def check_split(where: str, split: ClassSplit, names: Sequence[str]) -> None:
    """Raise InputError unless the split names known classes and leaves some of them seen."""
    for group in (split.unseen, *split.pseudo_unseen):
        unknown = sorted(set(group) - set(names))
        if unknown:
            raise InputError(f"{where}: unknown class `{unknown[0]}`; the classes are {', '.join(names[:4])}, …")
        if len(set(group)) != len(group):
            raise InputError(f"{where}: a class is listed twice")
    if not 0 < len(split.unseen) < len(names):
        raise InputError(f"{where}: {len(split.unseen)} unseen of {len(names)} classes; some must be seen, some unseen")
    for fold in split.pseudo_unseen:
        if both := set(fold) & set(split.unseen):
            raise InputError(f"{where}: class `{min(both)}` is both unseen and pseudo-unseen; the latter are seen")


def _check_trained_on(where: str, trained_on: TrainedOn, names: Sequence[str]) -> None:
    if unknown := sorted(set(trained_on.class_names) - set(names)):
        raise InputError(f"{where}: its extractor was trained on `{unknown[0]}`, which is no class of this data set")


def _check_count(where: str, found: int, rows: int) -> None:
    if found != rows:
        raise InputError(f"{where}: {found} rows, expected {rows}")


def _check_matrix(where: str, values: np.ndarray, rows: int) -> None:
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f"{where}: shape {values.shape}; expected two dimensions, (rows, features)")
    _check_count(where, len(values), rows)
    if values.dtype.kind in "iub":  # whole numbers are finite, and pictures need not be read through for that
        return
    for start in range(0, rows, 8192):  # in chunks, so that a memory-mapped file never stands in memory whole
        finite = np.isfinite(values[start : start + 8192]).all(axis=1)
        if not finite.all():
            raise InputError(f"{where}: row {start + int(np.argmin(finite))} holds NaN or infinity; it must be finite")
