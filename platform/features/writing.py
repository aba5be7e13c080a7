"""Features and logits of a whole data folder: a Ray Data run in chunks, then the folder with them in it.

Chunks are kept until the folder is written, so a run that was killed goes on with those that are left.
"""

import dataclasses
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from platform.datasets.contents import ClassSplit, Contents, FeatureArray
from platform.datasets.folder import Dataset
from platform.datasets.revision import revised
from platform.errors import InputError
from platform.features.clips import layout_of, prepared_rows
from platform.features.extractors import find_extractor
from platform.features.preparation import ODDITIES, Preparation
from platform.features.saved import SavedExtractor
from platform.features.selection import Selection
from platform.features.training import Training, extractor_path
from platform.training.checkpoints import read_checkpoint, write_checkpoint
from platform.training.devices import device_of

Report = Callable[[str, int, int], None]  # stage, clips done, of all
_ABSENT = -1e4  # the logit of a class that a classifier was not trained on: finite, and never the largest
_TRAINED = "trained on the seen classes of split"
_CHUNKS = "chunks"


class Writing(BaseModel):
    """What is written, and where to. The extractors stand in the run's folder (see `extractor_path`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Path
    feature_set: str
    logits_set: str | None = Field(None, description="also keep logits as a feature set of this name")
    training: Training | None = Field(None, description="of extractors trained here; None of published weights")
    out: Path | None = Field(None, description="a new folder with this split alone, in place of the data folder itself")
    replace: bool = Field(False, description="write over a feature set of that name")
    masked: float = Field(0.0, ge=0, lt=0.5, description="share of the frames left out twice (see Preparation)")
    chunk: int = Field(64, ge=1, description="clips that are done together, and lost with a kill")
    batch: int = Field(32, ge=1, description="clips that go through the network together")
    device: str = "auto"

    def stages(self) -> tuple[str, ...]:
        return ("final",) if self.training is None else self.training.stages()


@dataclass(frozen=True)
class Written:
    """The folder, and counts of its odd clips by kind."""

    dataset: Dataset
    odd: Mapping[str, int]


def check(writing: Writing, folder: Path) -> None:
    """Raise InputError before any computation for what would be refused at the end."""
    dataset = Dataset(writing.dataset)
    layout_of(dataset, Preparation())
    device_of(writing.device)
    for name in filter(None, (writing.feature_set, writing.logits_set)):
        if not name or "/" in name:
            raise InputError(f"feature set `{name}`: expected a name without a slash")
        if name in dataset.card.features and not writing.replace:
            raise InputError(f"{writing.dataset}: has a feature set `{name}`; choose another --name, or --replace it")
    if writing.out is not None and writing.out.exists():
        raise InputError(f"--out {writing.out}: exists already; choose another folder or remove it")
    extractors = {stage: SavedExtractor.read(extractor_path(folder, stage)) for stage in writing.stages()}
    if writing.training is None:
        return
    trained_on = tuple(extractors["final"].record[fact] for fact in ("dataset", "samples"))
    if trained_on != (dataset.card.name, dataset.card.samples):
        raise InputError(
            f"--dataset {writing.dataset}: is {dataset.card.name} with {dataset.card.samples} samples; the extractor "
            f"was trained on {trained_on[0]} with {trained_on[1]}"
        )
    split, unseen = writing.training.split, set(extractors["final"].record["unseen"])
    if set(dataset.split(split).unseen) != unseen:
        raise InputError(f"{writing.dataset}: its split {split} has other unseen classes than the extractor's")
    leaking = [name for name, other in dataset.splits.items() if set(other.unseen) - unseen]
    if writing.out is None and leaking:
        raise InputError(
            f"{writing.dataset}: also has split {leaking[0]}, of whose unseen classes the extractor saw some; "
            f"give --out FOLDER, for a folder of split {split} alone"
        )


def write(
    writing: Writing,
    folder: Path,
    workers: int = 0,
    gpus: float = 0.0,
    report: Report | None = None,
) -> Written:
    """Extract every clip, or resume an interrupted run in `folder`, then write the data folder.

    workers: of Ray Data, which must be connected; 0 for this process alone. gpus: of each worker. The folders must be
    ones that all workers reach. Raises InputError as `check` does.
    """
    dataset = Dataset(writing.dataset)
    odd: Counter[str] = Counter()
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for stage in writing.stages():
        rows = _rows(writing, dataset, stage)
        _extract(writing, folder, stage, len(rows), workers, gpus, report)
        found[stage], odd_here = _collected(folder, stage, _chunks(len(rows), writing.chunk))
        if stage == "final":
            odd = odd_here
    extractor = SavedExtractor.read(extractor_path(folder, "final"))
    features, logits = found["final"]
    described, trained_on = _described(extractor, writing), extractor.trained_on
    sets = {writing.feature_set: FeatureArray(features, described, trained_on=trained_on)}
    if writing.logits_set is not None:
        sets[writing.logits_set] = FeatureArray(logits, f"{described}; its logits", trained_on=trained_on)
    if writing.training is None:
        result = revised(dataset, sets, to=writing.out)
    else:
        split = dataset.split(writing.training.split)
        validation = _validation(writing, dataset, folder, *found["validation"]) if "validation" in found else None
        if validation is not None:
            names = validation.splits["given"].unseen
            split = split.model_copy(update={"pseudo_unseen": [names, *split.pseudo_unseen[1:]]})
        only = (writing.training.split, split) if writing.out is not None else None
        spread_logits = _over_all_classes(logits, extractor.seen, dataset)
        result = revised(dataset, sets, spread_logits, validation, only, writing.out, trained_on)
    shutil.rmtree(folder / _CHUNKS, ignore_errors=True)
    return Written(result, odd)


def _rows(writing: Writing, dataset: Dataset, stage: str) -> np.ndarray:
    """(N,) rows that a stage's extractor is given: all, or those of the validation fold in the folder's order."""
    if stage == "final":
        return np.arange(len(dataset.labels))
    selection = writing.training.selection(dataset, stage)
    return np.sort(np.concatenate([selection.rows, selection.test_rows, selection.pseudo_rows]))


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _chunk_path(folder: Path, stage: str, number: int) -> Path:
    return folder / _CHUNKS / f"{stage}-{number:06d}.safetensors"


def _extract(
    writing: Writing, folder: Path, stage: str, count: int, workers: int, gpus: float, report: Report | None
) -> None:
    """Extract a stage's missing chunks."""
    (folder / _CHUNKS).mkdir(parents=True, exist_ok=True)
    chunks = _chunks(count, writing.chunk)
    left = [n for n in range(len(chunks)) if not _chunk_path(folder, stage, n).exists()]
    done = count - sum(chunks[n].stop - chunks[n].start for n in left)
    for number in _done_one_by_one(writing, folder, stage, left, workers, gpus):
        done += chunks[number].stop - chunks[number].start
        if report is not None:
            report(stage, done, count)


def _done_one_by_one(writing: Writing, folder: Path, stage: str, left: Sequence[int], workers: int, gpus: float) -> Any:
    """Yields the chunks' numbers as they are done."""
    if not left:
        return
    given = {"writing": writing.model_dump_json(), "folder": str(folder.resolve()), "stage": stage}
    if workers == 0:
        extracting = _Extracting(**given)
        for number in left:
            yield int(extracting({"chunk": np.array([number])})["chunk"][0])
        return
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # the verb shows its own
    chunks = ray.data.from_items([{"chunk": n} for n in left], override_num_blocks=len(left))
    resources = {"num_gpus": gpus} if gpus else {"num_cpus": 1}
    done = chunks.map_batches(
        _Extracting,
        fn_constructor_kwargs=given,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        **resources,
    )
    for batch in done.iter_batches(batch_size=None):
        yield from batch["chunk"].tolist()


class _Extracting:
    """A worker: it reads clips, prepares them, puts them through the network and writes a chunk."""

    def __init__(self, writing: str, folder: str, stage: str) -> None:
        self.writing, self.folder, self.stage = Writing.model_validate_json(writing), Path(folder), stage
        self.dataset = Dataset(self.writing.dataset)
        self.rows = _rows(self.writing, self.dataset, stage)
        self.chunks = _chunks(len(self.rows), self.writing.chunk)
        saved = SavedExtractor.read(extractor_path(self.folder, stage))
        prepared = saved.config.model_copy(update={"masked": self.writing.masked or saved.config.masked})
        self.extractor = dataclasses.replace(saved, config=prepared)
        self.device = device_of(self.writing.device)
        self.extractor.network.to(self.device).eval()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{"chunk": (n,) numbers} to the same, once they stand on disk."""
        for number in batch["chunk"].tolist():
            odd: Counter[str] = Counter()
            features, logits = extract(
                self.extractor, self.dataset, self.rows[self.chunks[number]], self.writing.batch, self.device, odd
            )
            path = _chunk_path(self.folder, self.stage, number)
            write_checkpoint(path, {"features": features, "logits": logits}, {"odd": dict(odd)})
        return batch


def extract(
    extractor: SavedExtractor,
    dataset: Dataset,
    rows: np.ndarray,
    batch: int,
    device: torch.device,
    odd: Counter[str] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (N, 256) and logits (N, C) of some clips, float32 on the CPU."""
    features, logits = [], []
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            x = prepared_rows(dataset, rows[start : start + batch], extractor.config, odd).to(device)
            for given, found in zip(extractor.network(x), (features, logits), strict=True):
                found.append(given.float().cpu())
    return torch.cat(features), torch.cat(logits)


def _collected(folder: Path, stage: str, chunks: Sequence[slice]) -> tuple[tuple[np.ndarray, np.ndarray], Counter[str]]:
    """Features (N, 256) and logits (N, C) of a stage, and counts of odd clips."""
    odd: Counter[str] = Counter()
    parts = []
    for number in range(len(chunks)):
        tensors, record = read_checkpoint(_chunk_path(folder, stage, number))
        parts.append((tensors["features"].numpy(), tensors["logits"].numpy()))
        odd.update(record["odd"])
    features, logits = (np.concatenate(part) for part in zip(*parts, strict=True))
    return (features, logits), odd


def _described(extractor: SavedExtractor, writing: Writing) -> str:
    """What the data card says of the features."""
    title, config, record = find_extractor(extractor.name).title, extractor.config, extractor.record
    preparation = (
        f"{config.frames} frames ({config.lengthen}), {extractor.layout}, centre {config.centre}, turn {config.turn}"
    )
    if share := writing.masked or config.masked:
        preparation += f", masked {share:g}"
    if writing.training is None:
        return f"{title}, published weights {record['weights']}; {preparation}"
    return (
        f"{title}, {_TRAINED} {record['split']} ({len(extractor.seen)} classes, {record['clips']} clips, "
        f"{config.epochs} epochs, seed {record['seed']}); {preparation}"
    )


def _over_all_classes(logits: np.ndarray, seen: Sequence[str], dataset: Dataset) -> np.ndarray:
    """(N, S) to (N, C): the folder's layout, whose columns are all classes."""
    spread = np.full((len(logits), len(dataset.class_names)), _ABSENT, np.float32)
    spread[:, [dataset.class_names.index(name) for name in seen]] = logits
    return spread


def _validation(writing: Writing, dataset: Dataset, folder: Path, features: np.ndarray, logits: np.ndarray) -> Contents:
    """The fold as a data set of its own, its held-out subjects and pseudo-unseen classes the test partition.

    It also holds the feature sets whose extractor was not trained on this data set, and those written for this fold.
    """
    extractor = SavedExtractor.read(extractor_path(folder, "validation"))
    selection: Selection = writing.training.selection(dataset, "validation")
    rows = _rows(writing, dataset, "validation")
    ids = [str(dataset.ids[int(row)]) for row in rows]
    split = ClassSplit(
        unseen=list(selection.pseudo_unseen),
        source=f"pseudo-unseen classes of split {writing.training.split} (fold seed {writing.training.fold_seed})",
    )
    trained_on = extractor.trained_on
    sets = {writing.feature_set: FeatureArray(features, _described(extractor, writing), trained_on=trained_on)}
    for name, facts in dataset.card.features.items():
        made_of_it = _TRAINED in facts.extractor or facts.trained_on.class_names  # the first: cards of old
        if name not in sets and not made_of_it:
            kept = dataset.feature_array(name)
            sets[name] = dataclasses.replace(kept, values=kept.values[rows])
    earlier = dataset.validation
    if earlier is not None and earlier.ids.to_pylist() == ids and earlier.split("given").unseen == split.unseen:
        for name in earlier.card.features:
            sets.setdefault(name, earlier.feature_array(name))
    return Contents(
        name=dataset.card.name,
        modality=dataset.card.modality,
        licence=dataset.card.licence,
        source=f"{dataset.card.source}; a validation fold of split {writing.training.split}",
        classes=dataset.classes,
        labels=dataset.labels[rows],
        train=np.isin(rows, selection.rows),
        features=sets,
        ids=ids,
        groups=dataset.groups[rows],
        splits={"given": split},
        embeddings={name: dataset.embedding(name) for name in dataset.embedding_names},
        logits=_over_all_classes(logits, extractor.seen, dataset),
        logits_trained_on=trained_on,
        simulated=dataset.card.simulated,
    )


def describe_odd(odd: Mapping[str, int]) -> list[str]:
    """A line for each kind of odd clip."""
    return [f"{count} clips: {ODDITIES[name]}" for name, count in sorted(odd.items())]
