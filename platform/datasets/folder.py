"""The data folder: a card, Arrow files that are memory-mapped, and class facts in JSON.

NAME/
  dataset.json             the card: what this is, where it came from, counts, checksums, format version
  classes.json             name, descriptions, verb, noun and attributes of each class
  splits.json              class splits by name
  samples.arrow            id, class, group, train (official partition); one row a sample
  features/SET.arrow       fixed-size-list<float32>[D], one row a sample; sets stand side by side. Of kind `pixels`
                           fixed-size-list<uint8>[3·S·S]: a picture, its red, green and blue plane, row by row. Of kind
                           `pictures` list<binary>: a JPEG or PNG file a sample, S·S pixels, in several batches. Of
                           kind `frames` the same with equally many files a sample
  logits.arrow             of a seen-class classifier, where there is one; a row of NaN where a sample has none
  skeletons.arrow          raw clips, where there are any
  references.arrow         list<string>, captions of each sample to measure a model's against, where there are any
  embeddings/NAME.arrow    class embeddings, one row a class
  validation/              the same data through an extractor that never saw the pseudo-unseen classes, if given
"""

import fcntl
import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from platform.datasets.contents import (
    ClassInfo,
    ClassSplit,
    Contents,
    FeatureArray,
    FeatureKind,
    Normalisation,
    UnseenTest,
    check_split,
)
from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.encoded_pictures import EncodedPictures
from platform.datasets.partition_notes import partition_notes
from platform.datasets.splits import (
    DRAWN_FORMS,
    drawn_split,
    is_drawn,
    published_splits,
    published_unseen_test,
    refuse_single_class,
)
from platform.datasets.trained_on import UNKNOWN, TrainedOn
from platform.errors import InputError

FORMAT_VERSION = 1
_OF_ANY_RESULT = ("samples.arrow", "classes.json", "splits.json", "logits.arrow")
REFERENCES = "references.arrow"  # captions of each sample; its checksum on the card says that there are some
_ENCODED = {"pictures": EncodedPictures, "frames": EncodedFrames}  # by kind; other features are matrices


class FeatureSet(BaseModel):
    """What the card says of one feature set.

    dimension: numbers in a sample, of pictures and frames once they are decoded; side: pixels along the edge of a
    picture or frame, not of numbers; frames: of a sample, of kind `frames` alone; trained_on: of the extractor, unknown
    on the cards of earlier releases.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: int
    extractor: str
    normalise: Normalisation
    kind: FeatureKind = "numbers"
    side: int | None = None
    frames: int | None = None
    trained_on: TrainedOn = UNKNOWN

    @classmethod
    def of(cls, array: FeatureArray) -> "FeatureSet":
        return cls(
            dimension=array.dimension,
            extractor=array.extractor,
            normalise=array.normalise,
            kind=array.kind,
            side=array.side,
            frames=array.frames,
            trained_on=array.trained_on,
        )


class Card(BaseModel):
    """`dataset.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    name: str
    modality: str
    licence: str
    source: str
    simulated: bool
    class_list: str | None
    unseen_test: UnseenTest | None = None  # of a card that does not say: as its class list's published protocols do
    samples: int
    train_samples: int
    classes: int
    features: dict[str, FeatureSet]
    logits: bool
    logits_trained_on: TrainedOn | None = None
    skeletons: str | None
    notes: tuple[str, ...] = ()
    checksums: dict[str, str]  # file to SHA-256

    @property
    def checksum(self) -> str:
        """A checksum of all files together: equal for the same data in any folder."""
        return hashlib.sha256(json.dumps(self.checksums, sort_keys=True).encode()).hexdigest()[:16]


class Dataset:
    """A data folder, open for reading. Arrays are views of memory-mapped files: nothing is loaded before it is used.

    fold: whether it is the validation folder of another, whose split may hold out a single class.
    """

    def __init__(self, folder: Path, fold: bool = False) -> None:
        self.folder, self.fold = folder, fold
        self.card = _read_card(folder)
        self.classes = [ClassInfo(**c) for c in _read_json(folder / "classes.json")]
        self.class_names = [c.name for c in self.classes]
        samples = _read_table(folder / "samples.arrow")
        self.ids = samples.column("id")
        self.labels = samples.column("class").to_numpy()  # (N,) int64
        self.groups = samples.column("group").to_numpy()  # (N,) int64, −1 where unknown
        self.train = samples.column("train").to_numpy(zero_copy_only=False)  # (N,) bool
        if len(self.labels) != self.card.samples:
            raise InputError(f"{folder}/samples.arrow: {len(self.labels)} rows, the card says {self.card.samples}")

    def features(self, name: str | None = None) -> np.ndarray | EncodedFrames:
        """(N, D) of a feature set, the card's first by default; read-only, memory-mapped; float32, or uint8 pixels.

        Of kinds `pictures` and `frames` what is encoded, which is mapped as well.
        """
        name = self.feature_set(name)
        path = self.folder / "features" / f"{name}.arrow"
        return _ENCODED.get(self.card.features[name].kind, _read_matrix)(path)

    def feature_set(self, name: str | None) -> str:
        """The name of a feature set, checked; the card's first where none is given."""
        if not self.card.features:
            raise InputError(f"{self.folder}: holds skeletons and no features yet; extract features from them first")
        if name is None:
            return next(iter(self.card.features))
        if name not in self.card.features:
            raise InputError(f"{self.folder}: no feature set `{name}`; it has {', '.join(self.card.features)}")
        return name

    def content(self, feature_sets: Sequence[str | None]) -> str:
        """A checksum of what a result with these feature sets is of: equal in any folder with the same samples,
        classes, splits and such features, whatever else it holds."""
        sets = {f"{self.feature_set(name)}.arrow" for name in feature_sets}
        said = {
            file: checksum
            for file, checksum in self.card.checksums.items()
            if file in _OF_ANY_RESULT or (Path(file).parent.name == "features" and Path(file).name in sets)
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    def feature_array(self, name: str) -> FeatureArray:
        """A feature set as `Contents` has it, to be written again."""
        facts = self.card.features[self.feature_set(name)]
        return FeatureArray(self.features(name), facts.extractor, facts.normalise, facts.kind, facts.trained_on)

    @property
    def unseen_test(self) -> UnseenTest:
        """Which samples of unseen classes are tested by default."""
        return self.card.unseen_test or published_unseen_test(self.card.class_list)

    def test_rows(self, labels: np.ndarray, seen_classes: int, unseen_test: UnseenTest | None = None) -> np.ndarray:
        """(M,) rows to test on: the test partition, and of unseen classes the training partition too where all count.

        labels: (N,) of all samples, the seen classes numbered 0 … seen_classes − 1, −1 where a sample does not count.
        """
        tested = ~self.train
        if (unseen_test or self.unseen_test) == "all":
            tested = tested | (labels >= seen_classes)
        return np.flatnonzero(tested & (labels >= 0))

    @cached_property
    def logits(self) -> np.ndarray | None:
        """(N, C) float32, a row of NaN where a sample has none."""
        return _read_matrix(self.folder / "logits.arrow") if self.card.logits else None

    def skeleton(self, index: int) -> np.ndarray:
        """(T, bodies, joints, axes) float32: one raw clip."""
        row = self._skeletons.slice(index, 1).to_pylist()[0]
        return np.array(row["values"], dtype=np.float32).reshape(row["shape"])

    @cached_property
    def references(self) -> list[list[str]] | None:
        """Captions of each sample, against which a model's are measured; None where the folder has none."""
        if REFERENCES not in self.card.checksums:
            return None
        return _read_table(self.folder / REFERENCES).column("captions").to_pylist()

    @cached_property
    def _skeletons(self) -> pa.RecordBatch:
        if self.card.skeletons is None:
            raise InputError(f"{self.folder}: holds no raw skeletons")
        return _read_table(self.folder / "skeletons.arrow")

    @property
    def embedding_names(self) -> list[str]:
        return sorted(p.stem for p in (self.folder / "embeddings").glob("*.arrow"))

    def embedding(self, name: str) -> np.ndarray:
        """(C, T) float32: class embeddings that stand in the folder."""
        path = self.folder / "embeddings" / f"{name}.arrow"
        if not path.exists():
            have = ", ".join(self.embedding_names) or "none"
            raise InputError(f"{self.folder}: no class embedding `{name}`; it has {have}")
        return _read_matrix(path)

    def add_embedding(self, name: str, values: np.ndarray) -> None:
        """Write class embeddings beside the others. values: (C, T)."""
        path = self.folder / "embeddings" / f"{name}.arrow"
        path.parent.mkdir(exist_ok=True)
        partial = path.with_name(f".{uuid.uuid4().hex}")
        _write_matrix(partial, values)
        partial.rename(path)

    @cached_property
    def splits(self) -> dict[str, ClassSplit]:
        """The folder's own splits and the published ones of its class list, by name."""
        own = {name: ClassSplit(**s) for name, s in _read_json(self.folder / "splits.json").items()}
        for name, split in own.items():
            check_split(f"{self.folder}/splits.json: split `{name}`", split, self.class_names)
        return published_splits(self.card.class_list, self.class_names) | own

    def split(self, name: str) -> ClassSplit:
        """A split by name, or one that is drawn: `random:UNSEEN:SEED` or `half:SEED`.

        Raises InputError where there is none, or a single unseen class would be tested.
        """
        split = self.named_split(name)
        if not self.fold:
            refuse_single_class(f"{self.folder}: split `{name}`", split, self.tested_classes(split))
        return split

    def tested_classes(self, split: ClassSplit) -> set[str]:
        """Names of the classes that have test samples, by the folder's own choice of unseen ones."""
        unseen = np.isin(self.labels, [self.class_names.index(name) for name in split.unseen])
        tested = ~self.train | (unseen if self.unseen_test == "all" else False)
        return {self.class_names[i] for i in np.unique(self.labels[tested])}

    def named_split(self, name: str) -> ClassSplit:
        """As `split`, without the check that it can be tested, to describe earlier runs."""
        if is_drawn(name):
            return drawn_split(name, self.class_names)
        if name not in self.splits:
            have = ", ".join(self.splits) or "none"
            raise InputError(f"{self.folder}: no class split `{name}`; it has {have}, and {DRAWN_FORMS}")
        return self.splits[name]

    @cached_property
    def validation(self) -> "Dataset | None":
        return Dataset(self.folder / "validation", fold=True) if (self.folder / "validation").is_dir() else None

    def damaged(self) -> list[str]:
        """Files whose checksum is not the card's."""
        return [f for f, checksum in self.card.checksums.items() if _checksum(self.folder / f) != checksum]


def write_dataset(contents: Contents, folder: Path) -> Dataset:
    """Check and write a data folder, whole or not at all. Raises InputError where `folder` exists or a check fails.

    What is odd about its partitions (see `partition_notes`) stands among the card's notes.
    """
    if folder.exists():
        raise InputError(f"{folder} exists already; choose another folder or remove it")
    contents.check()
    contents = replace(contents, notes=[*contents.notes, *partition_notes(contents)])
    with _whole_or_nothing(folder) as partial:
        _write_contents(contents, partial)
    return Dataset(folder)


@contextmanager
def _whole_or_nothing(folder: Path) -> Iterator[Path]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.partial"):
        if _unheld(left):  # of one that was killed
            shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    handle = None
    try:
        partial.mkdir()
        handle = os.open(partial, os.O_RDONLY)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield partial
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        if handle is not None:
            os.close(handle)


def _unheld(folder: Path) -> bool:
    """Whether no process is writing a folder: the lock of one that was killed is gone with it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _write_contents(contents: Contents, folder: Path) -> None:
    count = len(contents.labels)
    ids = contents.ids if contents.ids is not None else [f"{i:07d}" for i in range(count)]
    groups = contents.groups if contents.groups is not None else np.full(count, -1)
    samples = {
        "id": pa.array(ids, pa.string()),
        "class": pa.array(np.asarray(contents.labels, np.int64)),
        "group": pa.array(np.asarray(groups, np.int64)),
        "train": pa.array(np.asarray(contents.train, bool)),
    }
    _write_batch(folder / "samples.arrow", pa.record_batch(samples))
    (folder / "features").mkdir()
    for name, feature_set in contents.features.items():
        _write_features(folder / "features" / f"{name}.arrow", feature_set)
    (folder / "embeddings").mkdir()
    for name, values in contents.embeddings.items():
        _write_matrix(folder / "embeddings" / f"{name}.arrow", values)
    if contents.logits is not None:
        _write_matrix(folder / "logits.arrow", contents.logits)
    if contents.skeletons is not None:
        clips = contents.skeletons.clips
        values = pa.array([np.asarray(c, np.float32).ravel() for c in clips], pa.large_list(pa.float32()))
        shapes = pa.array([list(c.shape) for c in clips], pa.list_(pa.int32(), 4))
        _write_batch(folder / "skeletons.arrow", pa.record_batch({"values": values, "shape": shapes}))
    if contents.references is not None:
        _write_references(folder / REFERENCES, contents.references)
    _write_json(folder / "classes.json", [c.model_dump() for c in contents.classes])
    _write_json(folder / "splits.json", {name: s.model_dump() for name, s in contents.splits.items()})
    if contents.validation is not None:
        (folder / "validation").mkdir()
        _write_contents(contents.validation, folder / "validation")
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    card = Card(
        format_version=FORMAT_VERSION,
        name=contents.name,
        modality=contents.modality,
        licence=contents.licence,
        source=contents.source,
        simulated=contents.simulated,
        class_list=contents.class_list,
        unseen_test=contents.unseen_test or published_unseen_test(contents.class_list),
        samples=count,
        train_samples=int(np.asarray(contents.train).sum()),
        classes=len(contents.classes),
        features={name: FeatureSet.of(f) for name, f in contents.features.items()},
        logits=contents.logits is not None,
        logits_trained_on=None if contents.logits is None else contents.logits_trained_on,
        skeletons=contents.skeletons.layout if contents.skeletons else None,
        notes=tuple(contents.notes),
        checksums={f: _checksum(folder / f) for f in files},
    )
    _write_json(folder / "dataset.json", card.model_dump())


def _read_card(folder: Path) -> Card:
    path = folder / "dataset.json"
    if not path.exists():
        raise InputError(f"{folder} is no data folder: it has no dataset.json (make one with `platform.data import`)")
    try:
        record = json.loads(path.read_text())
        version = record.get("format_version")
        if version != FORMAT_VERSION:
            raise InputError(f"{path}: format version {version}; this release reads version {FORMAT_VERSION}")
        return Card(**record)
    except (json.JSONDecodeError, ValidationError, AttributeError) as error:
        raise InputError(f"{path}: not a data card ({str(error).splitlines()[0]})") from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: missing or damaged ({error}); import the data again") from error


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _write_features(path: Path, feature_set: FeatureArray) -> None:
    if isinstance(feature_set.values, EncodedFrames):
        feature_set.values.write(path)
        return
    _write_matrix(path, feature_set.values, np.uint8 if feature_set.kind == "pixels" else np.float32)


def _write_matrix(path: Path, values: np.ndarray, dtype: type[np.generic] = np.float32) -> None:
    flat = np.ascontiguousarray(values, dtype=dtype).reshape(-1)  # a memory map of that type passes through uncopied
    _write_batch(path, pa.record_batch({"values": pa.FixedSizeListArray.from_arrays(pa.array(flat), values.shape[1])}))


def _write_references(path: Path, references: Sequence[Sequence[str]]) -> None:
    captions = pa.array([list(own) for own in references], pa.list_(pa.string()))
    _write_batch(path, pa.record_batch({"captions": captions}))


def _write_batch(path: Path, batch: pa.RecordBatch) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)  # one batch, so that reading maps one contiguous block


def _read_table(path: Path) -> pa.RecordBatch:
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: missing or truncated ({error}); import the data again") from error


def _read_matrix(path: Path) -> np.ndarray:
    column = _read_table(path).column(0)
    return column.values.to_numpy(zero_copy_only=True).reshape(len(column), column.type.list_size)


def _checksum(path: Path) -> str:
    if not path.exists():
        return "missing"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
