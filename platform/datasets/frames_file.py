"""An Arrow file of encoded frames, JPEG or PNG: written a record batch at a time, read as a memory map.

One row a sample, list<binary>, with equally many frames in each; the schema's metadata say how many, and the side of
the squares that they are.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import pyarrow as pa

from platform.errors import InputError

_BATCH_BYTES = 8 << 20  # of encoded frames in a record batch, which stands in memory until it is written
_COLUMN, _FRAMES, _SIDE = "frames", b"frames", b"side"


class FramesWriter:
    """Appends samples to an open file; a context, at whose end the file is whole.

    frames: of each sample; side: of their squares, in pixels.
    """

    def __init__(self, file: IO[bytes] | pa.NativeFile, frames: int, side: int) -> None:
        facts = {_FRAMES: str(frames), _SIDE: str(side)}
        self._schema = pa.schema([(_COLUMN, pa.list_(pa.binary()))], facts)
        self._frames = frames
        self._writer = pa.ipc.new_file(file, self._schema)
        self._waiting: list[Sequence[bytes]] = []
        self._bytes = 0

    def add(self, sample: Sequence[bytes]) -> None:
        """Append a sample. Raises ValueError unless it has as many frames as the others."""
        if len(sample) != self._frames:
            raise ValueError(f"a sample of {len(sample)} frames among samples of {self._frames}")
        self._waiting.append(sample)
        self._bytes += sum(map(len, sample))
        if self._bytes >= _BATCH_BYTES:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            column = pa.array(self._waiting, self._schema.field(0).type)
            self._writer.write_batch(pa.record_batch([column], schema=self._schema))
        self._waiting, self._bytes = [], 0


@contextmanager
def writing_frames(path: Path, frames: int, side: int) -> Iterator[FramesWriter]:
    """A writer to a new file."""
    with pa.OSFile(str(path), "wb") as file, FramesWriter(file, frames, side) as writer:
        yield writer


@dataclass(frozen=True)
class FramesFile:
    """An open file: the frames of its samples, how many each has, and their side in pixels.

    ends: (B,) counts of samples up to the end of each record batch.
    """

    columns: Sequence[pa.ListArray]
    ends: np.ndarray
    frames: int
    side: int

    @classmethod
    def open(cls, source: Path | pa.Buffer) -> Self:
        """Map a file, or read a buffer that is one. Raises InputError where it is missing, damaged or another one."""
        try:
            reader = pa.ipc.open_file(source if isinstance(source, pa.Buffer) else pa.memory_map(str(source)))
            columns = [reader.get_batch(i).column(0) for i in range(reader.num_record_batches)]
            facts = {name: int((reader.schema.metadata or {}).get(name, 0)) for name in (_FRAMES, _SIDE)}
        except (OSError, ValueError, pa.ArrowInvalid) as error:
            raise InputError(f"{source}: missing or truncated ({error}); import the data again") from error
        if reader.schema.types != [pa.list_(pa.binary())] or not all(facts.values()):
            raise InputError(f"{source}: holds no encoded frames; its schema is {reader.schema.types}")
        return cls(columns, np.cumsum([len(c) for c in columns], dtype=np.int64), facts[_FRAMES], facts[_SIDE])

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def sample(self, row: int) -> list[pa.Buffer]:
        """Its encoded frames, as views of the file."""
        batch = int(np.searchsorted(self.ends, row, side="right"))
        column = self.columns[batch]
        place = row - int(self.ends[batch]) + len(column)
        return [frame.as_buffer() for frame in column[place].values]
