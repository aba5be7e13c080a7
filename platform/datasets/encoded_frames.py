"""Samples that are encoded frames in a memory-mapped file: nothing is decoded before it is asked for."""

import hashlib
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from multiprocessing import current_process, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from platform.child_processes import end_with_parent
from platform.errors import InputError, Unavailable

# PyTorch takes seconds to import, which a verb's help should not wait for; and a task, whose type says that its
# features may be encoded frames, is also made on machines that have PyTorch and neither PyArrow nor PIL
if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Size, Tensor, device, dtype

    from platform.datasets.frames_file import FramesFile

_FORMATS = ("JPEG", "PNG")  # PIL's other decoders are never reached
_LONGEST_WAIT = 300  # seconds for a batch, in which its worker may have to start
_FEW_PIXELS = 1 << 28  # of all colours, which are decoded sooner than worker processes start
_LOOK_AFTER = 5  # seconds of waiting, after which it is looked whether the workers are alive


class EncodedFrames:
    """N samples of F frames each, in an Arrow file (see `frames_file`) that is opened by its path.

    It stands where a tensor of uint8 pictures would, (N, F, 3, side, side). An index, a bool mask (N,), whole numbers
    (n,), or a slice, makes a view of those rows: it decodes and copies nothing. A copy in another process opens the
    file again. Raises InputError where the file is missing, damaged or holds something else.
    """

    kind: ClassVar[Literal["frames", "pictures"]] = "frames"  # of features

    def __init__(self, path: Path) -> None:
        file = _opened(path)
        self._set(path, file, np.arange(len(file)), "cpu")

    @classmethod
    def of_buffer(cls, buffer: "pa.Buffer") -> Self:
        """Of a file's content, which may be the map of a file without a name; it cannot go to another process."""
        file, found = _opened(buffer), cls.__new__(cls)
        found._set(None, file, np.arange(len(file)), "cpu")
        return found

    def _set(self, path: Path | None, file: "FramesFile", rows: np.ndarray, device: str) -> None:
        self._path, self._file, self._rows, self._device = path, file, rows, device

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"EncodedFrames({self._path}, {tuple(self.shape)}, {self._device})"

    @property
    def frames(self) -> int:
        """Of each sample."""
        return self._file.frames

    @property
    def side(self) -> int:
        """Of a frame, in pixels."""
        return self._file.side

    @property
    def shape(self) -> "Size":
        """(N, F, 3, side, side), of what `decoded` returns."""
        import torch

        return torch.Size((len(self), self.frames, 3, self.side, self.side))

    @property
    def dtype(self) -> "dtype":
        """uint8, of what `decoded` returns."""
        import torch

        return torch.uint8

    @property
    def device(self) -> "device":
        """Where decoded frames go."""
        import torch

        return torch.device(self._device)

    def to(self, device: "device | str") -> Self:
        """The same samples, whose frames go to a device once they are decoded."""
        return self._view(self._rows, str(device))

    def __getitem__(self, index: "Tensor | np.ndarray | slice | Sequence[int]") -> Self:
        """A view of some rows. Raises TypeError for another kind of index, IndexError for rows that are not there."""
        if not isinstance(index, slice):
            index = np.asarray(index.cpu() if hasattr(index, "cpu") else index)
            if index.ndim != 1 or (index.dtype.kind not in "bi" and index.size):
                raise TypeError("encoded frames are indexed by rows: a bool mask, whole numbers (n,), or a slice")
            index = index if index.size else index.astype(np.int64)
        return self._view(self._rows[index], self._device)

    def _view(self, rows: np.ndarray, device: str) -> Self:
        other = type(self).__new__(type(self))
        other._set(self._path, self._file, rows, device)
        return other

    def split(self, size: int) -> "list[Self]":
        """Views of `size` rows, the last one of what is left."""
        return [self[start : start + size] for start in range(0, len(self), size)]

    def encoded(self, row: int) -> list[bytes]:
        """The frames of a sample as they are stored, JPEG or PNG files."""
        return [frame.to_pybytes() for frame in self._file.sample(int(self._rows[row]))]

    def digest(self, row: int) -> bytes:
        """Of the stored bytes of a sample: equal for equal samples, wherever they stand."""
        found = hashlib.blake2b(digest_size=16)
        for frame in self._file.sample(int(self._rows[row])):
            found.update(len(frame).to_bytes(8, "little"))
            found.update(frame)
        return found.digest()

    def key(self, row: int) -> str:
        """The digest as text, by which a cache can keep what was made of a sample."""
        return self.digest(row).hex()

    def write(self, path: Path) -> None:
        """Write these samples to a new file, a record batch at a time."""
        from platform.datasets.frames_file import writing_frames

        with writing_frames(path, self.frames, self.side) as writer:
            for row in range(len(self)):
                writer.add(self.encoded(row))

    def decoded(self, rows: "Tensor | np.ndarray | slice | Sequence[int] | None" = None) -> "Tensor":
        """The frames of some rows, all by default, on the device: (n, F, 3, side, side) uint8.

        Raises InputError where a frame is damaged.
        """
        chosen = self if rows is None else self[rows]
        return chosen._decoded().to(self._device)

    def batches(self, rows: "Sequence[Tensor]", workers: int | None = None) -> "Iterator[Tensor]":
        """The frames of each batch of rows in turn, as `decoded` returns them, decoded ahead in worker processes.

        rows: batches of whole numbers (n,). Nothing is drawn, and the order is that of `rows`. workers: at most as many
        as there are CPUs and batches; 0 decodes in this process; by default 2, or 0 for few pixels or one batch.
        Batches of a GPU are copied there from pinned memory without waiting. The workers end with the iterator. Raises
        InputError where a frame is damaged, Unavailable where a worker was killed or gives nothing for five minutes.
        """
        import torch

        gpu = torch.device(self._device).type == "cuda"
        if workers is None:
            pixels = sum(map(len, rows)) * math.prod(self.shape[1:])
            workers = 2 if len(rows) > 1 and pixels > _FEW_PIXELS else 0
        if self._path is None or current_process().daemon:  # which cannot be sent to workers, or may not start some
            workers = 0
        workers = min(workers, len(rows), len(os.sched_getaffinity(0)))
        for batch in self._ahead(rows, workers, gpu) if workers else map(self._batch, rows):
            ready = batch.pin_memory() if gpu and not batch.is_pinned() else batch
            yield ready.to(self._device, non_blocking=gpu)

    def _batch(self, rows: "Tensor") -> "Tensor":
        return self[rows]._decoded()

    def _ahead(self, rows: "Sequence[Tensor]", workers: int, pin: bool) -> "Iterator[Tensor]":
        import torch
        from torch.utils.data import DataLoader

        loader = DataLoader(
            _Batches(self.to("cpu"), [np.asarray(own.cpu()) for own in rows]),
            batch_size=None,  # an item is a batch already
            num_workers=workers,
            pin_memory=pin,
            timeout=_LOOK_AFTER,
            multiprocessing_context=worker_context(),
            worker_init_fn=_started,
            generator=torch.Generator(),  # a seed for the workers is drawn from it, and not from the caller's
        )
        found = iter(loader)
        try:
            for _ in rows:
                batch = _received(found, workers)
                if isinstance(batch, str):
                    raise InputError(batch)
                yield batch
        finally:
            found._shutdown_workers()  # at once: an exception's traceback may keep the iterator for long

    def _decoded(self) -> "Tensor":
        import torch
        from PIL import Image

        pictures = np.empty((len(self), self.frames, 3, self.side, self.side), np.uint8)
        for place in range(len(self)):
            for number, content in enumerate(self.encoded(place)):
                try:
                    with Image.open(BytesIO(content), formats=_FORMATS) as image:
                        pictures[place, number] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
                except Exception as error:  # a damaged file may fail anywhere in a decoder, with any exception
                    where = f"{self._path}: row {int(self._rows[place])}, frame {number}"
                    said = str(error).splitlines()[0]
                    raise InputError(
                        f"{where} is no JPEG or PNG of {self.side} x {self.side} ({said}); import the data again"
                    ) from error
        return torch.from_numpy(pictures)

    def __getstate__(self) -> dict[str, Any]:
        if self._path is None:
            raise TypeError("encoded frames of a file without a name cannot go to another process")
        return {"path": self._path, "rows": self._rows, "device": self._device, "count": len(self._file)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(state["path"], _opened(state["path"]), state["rows"], state["device"])
        if len(self._file) != state["count"]:
            raise InputError(f"{self._path}: has {len(self._file)} samples, had {state['count']}: it was replaced")


class _Batches:
    """What the workers are given: item i is batch i, or the line that says why there is none."""

    def __init__(self, frames: EncodedFrames, rows: Sequence[np.ndarray]) -> None:
        self.frames, self.rows = frames, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> "Tensor | str":
        try:
            return self.frames[self.rows[number]].decoded()
        except InputError as error:  # raised here, it would reach the caller as a traceback of several processes
            return str(error)


def _opened(source: "Path | pa.Buffer") -> "FramesFile":
    from platform.datasets.frames_file import FramesFile

    return FramesFile.open(source)


def _received(batches: "Iterator[Tensor | str]", workers: int) -> "Tensor | str":
    started = time.monotonic()
    while True:
        try:
            return next(batches)
        # what the DataLoader raises for a worker that is late or gone, perhaps while it handed a batch over
        except (RuntimeError, OSError, EOFError) as error:
            said = (str(error) or type(error).__name__).splitlines()[0]
            if said.startswith("DataLoader timed out") and time.monotonic() - started < _LONGEST_WAIT:
                continue
            raise Unavailable(
                f"one of {workers} processes that decode frames was killed, or gave none for {_LONGEST_WAIT} s "
                f"({said}): for want of memory perhaps, or of shared memory (/dev/shm); give it fewer workers, or 0"
            ) from error


def _started(_: int) -> None:
    """What a worker does first: the DataLoader's own watch is over the process that forks, which waits for it."""
    end_with_parent()


def worker_context() -> BaseContext:
    """Workers are forked from a process without threads that has imported once what they need, and so start at once."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch", "PIL.Image", "platform.datasets.frames_file", *_imported_by_main()])
    return context


def _imported_by_main() -> list[str]:
    """The modules that a worker imports as it starts: it runs the main module's imports again, as spawned ones do."""
    values = list(vars(sys.modules["__main__"]).values())
    names = [v.__name__ if isinstance(v, ModuleType) else getattr(v, "__module__", None) for v in values]
    return sorted({name for name in names if isinstance(name, str) and name in sys.modules} - {"__main__"})
