"""Prepared clips in one memory-mapped file: training passes over them many times, and they may outgrow the memory."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from platform.datasets.folder import Dataset
from platform.errors import InputError
from platform.features.joints import JOINTS, Layout
from platform.features.preparation import Preparation, bodies_shown, prepared

_STEPS_AHEAD = 32  # clips between two calls of a progress report


def layout_of(dataset: Dataset, preparation: Preparation) -> Layout:
    """The joints that a network takes. Raises InputError where the folder holds no raw skeletons of a Kinect."""
    if dataset.card.skeletons is None:
        dataset.skeleton(0)  # says what is missing
    if dataset.card.skeletons not in JOINTS:
        raise InputError(
            f"{dataset.folder}: its skeletons are {dataset.card.skeletons}; the extractors take {' or '.join(JOINTS)}"
        )
    return preparation.layout or dataset.card.skeletons


def most_bodies(dataset: Dataset, rows: Sequence[int]) -> int:
    """How many bodies a network needs for these clips: 1 or 2."""
    return 2 if any(bodies_shown(dataset.skeleton(int(row))) > 1 for row in rows) else 1


def prepared_rows(
    dataset: Dataset, rows: Sequence[int], preparation: Preparation, odd: Counter[str] | None = None
) -> Tensor:
    """(N, 3, frames, V, M) float32 of some clips."""
    layout = dataset.card.skeletons
    return torch.from_numpy(np.stack([prepared(dataset.skeleton(int(r)), layout, preparation, odd) for r in rows]))


class PreparedClips:
    """Clips of some rows, prepared once. The file is written atomically and reused after a restart."""

    def __init__(self, dataset: Dataset, rows: np.ndarray, preparation: Preparation, folder: Path) -> None:
        self.dataset, self.rows, self.preparation = dataset, rows, preparation
        fields = {name: getattr(preparation, name) for name in Preparation.model_fields}
        named = json.dumps([str(dataset.folder.resolve()), rows.tolist(), fields])
        self.path = folder / f"clips-{hashlib.sha256(named.encode()).hexdigest()[:12]}.npy"

    def write(self, progress: Callable[[int], None] | None = None) -> Counter[str]:
        """Prepare every clip, unless that has been done; what was odd about them, counted."""
        counted = self.path.with_suffix(".json")
        if self.path.exists():
            return Counter(json.loads(counted.read_text()))
        odd: Counter[str] = Counter()
        partial = self.path.with_name(f".{self.path.name}")
        shape = (len(self.rows), 3, self.preparation.frames, self._joints, self.preparation.bodies)
        array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        for i, row in enumerate(self.rows):
            array[i] = prepared(self.dataset.skeleton(int(row)), self.dataset.card.skeletons, self.preparation, odd)
            if progress is not None and i % _STEPS_AHEAD == 0:
                progress(i)
        array.flush()
        del array
        counted.write_text(json.dumps(odd))  # written before the clips, so that it exists where they do
        partial.rename(self.path)
        return odd

    def batch(self, places: np.ndarray) -> Tensor:
        """(len(places), 3, frames, V, M): clips by their place among the rows."""
        return torch.from_numpy(self._mapped[places])

    def remove(self) -> None:
        """Delete the file; it can be made again."""
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".json").unlink(missing_ok=True)

    @cached_property
    def _mapped(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r")

    @property
    def _joints(self) -> int:
        return len(JOINTS[layout_of(self.dataset, self.preparation)])
