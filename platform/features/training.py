"""Training of an extractor on a split's seen classes, and of one for validation without the pseudo-unseen classes.

An interrupted training resumes from its last checkpoint with the same results: every draw is seeded by seed, epoch and
step.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from platform.datasets.folder import Dataset
from platform.errors import InputError
from platform.features.clips import PreparedClips, layout_of, most_bodies
from platform.features.extractors import ExtractorConfig, find_extractor
from platform.features.saved import SavedExtractor
from platform.features.selection import Selection, fold_selection, seen_selection
from platform.population.draws import generator, shuffled_rows
from platform.training.checkpoints import read_checkpoint, write_checkpoint
from platform.training.devices import device_of

STAGES = ("final", "validation")
Report = Callable[[str, int, int, Mapping[str, float] | None], None]  # stage, steps done, of all, an epoch's metrics
_TEST_BATCH = 64
_WRITING_SHARE = 0.05  # of the time, at most, that writing checkpoints takes


class Training(BaseModel):
    """Everything that a training depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    extractor: str
    config: dict[str, Any]
    dataset: Path
    split: str
    seed: int = Field(0, ge=0)
    validation: bool = Field(True, description="also train without the pseudo-unseen classes of the first fold")
    seen_fraction: float = Field(0.2, gt=0, lt=1, description="share of the seen clips that the fold holds out")
    fold_seed: int = Field(0, ge=0, description="seed of the draw of the pseudo-unseen classes")
    device: str = "auto"
    checkpoint_seconds: float = 30.0

    def configured(self) -> ExtractorConfig:
        return find_extractor(self.extractor).configure(self.config)

    def stages(self) -> tuple[str, ...]:
        return STAGES if self.validation else STAGES[:1]

    def selection(self, dataset: Dataset, stage: str) -> Selection:
        """The clips of a stage. Raises InputError where the split leaves too few."""
        split = dataset.split(self.split)
        if stage == "final":
            return seen_selection(dataset, split)
        return fold_selection(dataset, split, self.seen_fraction, self.fold_seed)


def check(training: Training, workers: int = 1) -> None:
    """Raise InputError for wrong options, before a folder is made."""
    config = training.configured()
    dataset = Dataset(training.dataset)
    layout = layout_of(dataset, config)
    find_extractor(training.extractor).build(config.model_copy(update={"bodies": config.bodies or 1}), 2, layout)
    for stage in training.stages():
        training.selection(dataset, stage)
    device_of(training.device)
    if config.batch_size % workers:
        raise InputError(f"batch_size={config.batch_size}: {workers} workers cannot share it evenly")


def extractor_path(folder: Path, stage: str) -> Path:
    """The path of a stage's trained extractor."""
    return folder / f"{stage}.extractor"


def train(
    training: Training,
    folder: Path,
    report: Report | None = None,
    device: torch.device | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> dict[str, SavedExtractor]:
    """Train every stage in `folder`, or resume an interrupted training there. Raises InputError where losses diverge.

    With several workers, each one calls it in its process group; the folder must be one that all of them reach.
    """
    config, dataset = training.configured(), Dataset(training.dataset)
    device = device or device_of(training.device)
    found = {}
    for stage in training.stages():
        path = extractor_path(folder, stage)
        if not path.exists():
            selection = training.selection(dataset, stage)
            worker = _Worker(device, rank, world_size, training.checkpoint_seconds, report)
            _Fit(training, config, dataset, selection, stage, folder, worker).run()
        found[stage] = SavedExtractor.read(path)
    return found


@dataclass(frozen=True)
class _Worker:
    device: torch.device
    rank: int
    world_size: int
    checkpoint_seconds: float
    report: Report | None

    def wait_for_all(self) -> None:
        if self.world_size > 1:
            torch.distributed.barrier()


@dataclass
class _Fit:
    """One stage's training, step by step."""

    training: Training
    config: ExtractorConfig
    dataset: Dataset
    selection: Selection
    stage: str
    folder: Path
    worker: _Worker
    history: list[dict[str, float]] = field(default_factory=list)
    epoch: int = 0
    step: int = 0  # within the epoch
    seconds: float = 0.0  # of the epoch so far

    def run(self) -> None:
        with torch.random.fork_rng(devices=[self.worker.device] if self.worker.device.type == "cuda" else []):
            self._run()

    def _run(self) -> None:
        config = self.config
        if config.bodies == 0:
            config = config.model_copy(update={"bodies": most_bodies(self.dataset, self.selection.rows)})
        layout = layout_of(self.dataset, config)
        extractor = find_extractor(self.training.extractor)
        torch.manual_seed(self._draw("network").initial_seed())
        network = extractor.build(config, len(self.selection.seen), layout).to(self.worker.device)
        self.config, self.network = config, network
        self.optimiser = torch.optim.SGD(
            network.parameter_groups(config.weight_decay),
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov and config.momentum > 0,
        )
        self.sums = torch.zeros(2, device=self.worker.device)  # of the epoch: losses, clips recognised
        clips = PreparedClips(self.dataset, self.selection.rows, config, self.folder)
        if self.worker.rank == 0:
            clips.write()
        self.worker.wait_for_all()
        self._read()
        self._epochs(clips)
        self.worker.wait_for_all()
        if self.worker.rank == 0:
            metrics = self._test()
            record = self._record(metrics, clips.write())
            saved = SavedExtractor(self.training.extractor, config, layout, self.selection.seen, network, record)
            saved.write(extractor_path(self.folder, self.stage))
            self._checkpoint_path.unlink(missing_ok=True)
            clips.remove()
        self.worker.wait_for_all()

    def _epochs(self, clips: PreparedClips) -> None:
        """Run all remaining steps."""
        network, worker = self.network, self.worker
        parallel = network
        if worker.world_size > 1:
            parallel = DistributedDataParallel(network, [worker.device] if worker.device.type == "cuda" else None)
        labels = torch.from_numpy(self.selection.labels)
        count, batch = len(labels), self.config.batch_size
        steps = -(-count // batch)
        due = time.monotonic() + worker.checkpoint_seconds
        network.train()
        while self.epoch < self.config.epochs:
            for group in self.optimiser.param_groups:
                group["lr"] = self.config.rate(self.epoch)
            shuffled = shuffled_rows(count, batch, self._draw("shuffle", self.epoch))[self.step :]
            started = time.monotonic() - self.seconds
            shares = [places[worker.rank :: worker.world_size] for places in shuffled]
            for places, x in zip(shares, _ahead(clips, shares, worker.device), strict=True):
                torch.manual_seed(self._draw("dropout", self.epoch, self.step, worker.rank).initial_seed())
                self._descend(parallel, x, labels[places].to(worker.device))
                self.step += 1
                self.seconds = time.monotonic() - started
                if self.step == steps:
                    self._end_epoch(steps * batch)
                whole = worker.world_size == 1 or self.step == 0  # within an epoch each worker has its own sums
                if worker.rank == 0 and whole and time.monotonic() >= due:
                    due = self._write()
                if worker.report is not None and worker.rank == 0:
                    metrics = self.history[-1] if self.step == 0 else None
                    worker.report(self.stage, self.epoch * steps + self.step, self.config.epochs * steps, metrics)

    def _descend(self, network: nn.Module, x: Tensor, y: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        with autocast(self.config, self.worker.device):
            _, logits = network(x)
        loss = nn.functional.cross_entropy(logits.float(), y)
        loss.backward()
        self.network.after_backward()
        self.optimiser.step()
        with torch.no_grad():
            self.sums += torch.stack([loss * len(y), (logits.argmax(dim=1) == y).sum()])

    def _end_epoch(self, shown: int) -> None:
        """Record an epoch over so many clips. Raises InputError, in all workers, where it diverged."""
        if self.worker.world_size > 1:
            torch.distributed.all_reduce(self.sums)
        loss, recognised = (self.sums / shown).tolist()
        if not math.isfinite(loss):
            raise InputError(
                f"{self.stage}: its loss was no longer finite in epoch {self.epoch + 1}; a smaller learning_rate may "
                "help (--set learning_rate=…)"
            )
        rate = self.config.rate(self.epoch)
        self.history.append({"loss": loss, "accuracy": recognised, "learning_rate": rate, "seconds": self.seconds})
        self.sums.zero_()
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0

    def _test(self) -> dict[str, float]:
        """Accuracy on the test clips of the same classes, if there are any, and an epoch's duration."""
        metrics = {"seconds_per_epoch": sum(epoch["seconds"] for epoch in self.history) / len(self.history)}
        rows, labels = self.selection.test_rows, torch.from_numpy(self.selection.test_labels)
        if not len(rows):
            return metrics
        clips = PreparedClips(self.dataset, rows, self.config, self.folder)
        clips.write()
        self.network.eval()
        hits = []
        with torch.inference_mode():
            for places in torch.arange(len(rows)).split(_TEST_BATCH):
                with autocast(self.config, self.worker.device):
                    _, logits = self.network(clips.batch(places.numpy()).to(self.worker.device))
                hits.append(logits.argmax(dim=1).cpu() == labels[places])
        clips.remove()
        hit = torch.cat(hits).double()
        per_class = [hit[labels == label].mean().item() for label in labels.unique()]
        return metrics | {
            "accuracy": float(np.mean(per_class)),
            "accuracy_per_sample": hit.mean().item(),
            "test_clips": len(rows),
        }

    def _record(self, metrics: Mapping[str, float], odd: Counter[str]) -> dict[str, Any]:
        """The record of the extractor's training: data and results."""
        return {
            "dataset": self.dataset.card.name,
            "samples": self.dataset.card.samples,
            "split": self.training.split,
            "unseen": self.dataset.split(self.training.split).unseen,
            "pseudo_unseen": list(self.selection.pseudo_unseen),
            "clips": len(self.selection.rows),
            "seed": self.training.seed,
            "metrics": dict(metrics),
            "history": self.history,
            "odd": dict(odd),
        }

    def _draw(self, *names: object) -> torch.Generator:
        return generator(self.training.seed, "extractor", self.stage, *names)

    @property
    def _checkpoint_path(self) -> Path:
        return self.folder / f"{self.stage}.checkpoint"

    def _write(self) -> float:
        """Write a checkpoint; returns when the next one is due."""
        started = time.monotonic()
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for number, parameter in enumerate(self._parameters()):
            momentum = self.optimiser.state[parameter].get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{number}"] = momentum
        record = {"epoch": self.epoch, "step": self.step, "seconds": self.seconds, "history": self.history}
        write_checkpoint(self._checkpoint_path, {**tensors, "sums": self.sums}, record)
        taken = time.monotonic() - started
        return time.monotonic() + max(self.worker.checkpoint_seconds, taken / _WRITING_SHARE)

    def _read(self) -> None:
        saved = read_checkpoint(self._checkpoint_path)
        if saved is None:
            return
        tensors, record = saved
        state = {n.removeprefix("network."): t for n, t in tensors.items() if n.startswith("network.")}
        self.network.load_state_dict(state)
        for number, parameter in enumerate(self._parameters()):
            if (momentum := tensors.get(f"momentum.{number}")) is not None:
                self.optimiser.state[parameter]["momentum_buffer"] = momentum.to(parameter.device)
        self.sums.copy_(tensors["sums"])
        self.epoch, self.step = record["epoch"], record["step"]
        self.seconds, self.history = record["seconds"], record["history"]

    def _parameters(self) -> Iterator[nn.Parameter]:
        for group in self.optimiser.param_groups:
            yield from group["params"]


def autocast(config: ExtractorConfig, device: torch.device) -> Any:
    """The context in which a network runs: bfloat16 products where the configuration says so."""
    on_gpu = config.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    if config.precision == "bfloat16" or on_gpu:
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _ahead(clips: PreparedClips, shares: list[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Each share's clips on the device; the next ones are read while a step runs."""

    def read(places: Tensor) -> Tensor:
        batch = clips.batch(places.numpy())
        return batch.pin_memory() if device.type == "cuda" else batch

    with ThreadPoolExecutor(1) as reader:
        following = [reader.submit(read, shares[0])] if shares else []
        for number in range(len(shares)):
            x = following.pop().result()
            if number + 1 < len(shares):
                following.append(reader.submit(read, shares[number + 1]))
            yield x.to(device, non_blocking=True)
