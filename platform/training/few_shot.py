"""Few-shot tests: a trained model goes on from a few samples of each of its unseen classes (ReGen, Table 6)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from platform.capabilities import FewShot
from platform.errors import InputError
from platform.method import Model, load_method
from platform.population.draws import generator
from platform.training.evaluation import zero_shot_metrics
from platform.training.saved_models import method_of
from platform.training.tested import model_and_unseen
from platform.workers import Workers
from platform.zeroshot.task import Samples, Task


@dataclass(frozen=True)
class FewShotTest:
    """A model's accuracy among its unseen classes after `shots` samples of each, drawn by the seed `draw`.

    accuracy: the mean over classes; accuracy_per_sample: over samples.
    """

    shots: int
    draw: int
    accuracy: float
    accuracy_per_sample: float


@dataclass(frozen=True)
class FewShotProblem:
    """A trained model of a method, the training samples of its unseen classes to draw from, and those to test on.

    test: of the unseen classes and of the test partition alone, whatever zero-shot tests take, since the others are
    drawn from; record: the model's, with the tested problem.
    """

    name: str
    method: FewShot
    model: Model
    pool: Task
    test: Samples
    record: Mapping[str, Any]

    @classmethod
    def of(
        cls, folder: Path, dataset: Path | None = None, split: str | None = None, device: str = "auto"
    ) -> "FewShotProblem":
        """Of a model's folder; the other arguments and errors are those of `model_and_unseen`.

        Raises InputError also where the model is an ensemble, or its method cannot learn from a few samples.
        """
        name = method_of(folder)
        method = load_method(name)
        if not isinstance(method, FewShot):
            raise InputError(f"{folder}: {name} has no few-shot training (`platform.capabilities.FewShot`)")
        model, pool, test, record = model_and_unseen(folder, dataset, split, device)
        return cls(name, method, model, pool, test, record)

    def zero_shot(self) -> dict[str, float]:
        """The model's accuracies as it is, on the same test samples."""
        return zero_shot_metrics(self.model, self.test)

    def check(self, shots: Sequence[int]) -> None:
        """Raise InputError where a class has fewer training samples than are to be drawn."""
        counts = torch.bincount(self.pool.labels, minlength=len(self.pool.seen)).tolist()
        fewest = min(counts)
        for number in shots:
            if number > fewest:
                name = self.pool.seen[counts.index(fewest)]
                folder = self.record["problem"]["dataset"]
                raise InputError(f"--shots {number}: class `{name}` has {fewest} training samples in {folder}")

    def drawn(self, shots: int, draw: int) -> Task:
        """`shots` samples of each class; more shots of the same draw add samples to the same ones."""
        rows = []
        for number, name in enumerate(self.pool.seen):
            own = torch.nonzero(self.pool.labels == number).flatten()
            rows.append(own[torch.randperm(len(own), generator=generator(draw, "shots", name))[:shots]])
        chosen = torch.cat(rows).sort().values
        return replace(self.pool, features=self.pool.features[chosen], labels=self.pool.labels[chosen])

    def tests(
        self, shots: Sequence[int], draws: Sequence[int], values: Mapping[str, Any], device: torch.device
    ) -> Iterator[FewShotTest]:
        """The tests, draw by draw. draws: seeds, of the samples and of the training; values: as `FewShot` takes them.

        Raises InputError as `check` and the method do.
        """
        self.check(shots)
        for draw in draws:
            for number in shots:
                task = self.drawn(number, draw)
                adapted = self.method.adapted(self.model, task, values, draw, Workers(device))
                found = zero_shot_metrics(adapted, self.test)
                yield FewShotTest(number, draw, found["zsl"], found["zsl_per_sample"])
