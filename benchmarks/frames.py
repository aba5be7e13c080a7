"""Clips a second from encoded frames against decoding the videos in every epoch: `python -m benchmarks.frames`.

The named baseline decodes each video again with PyAV, in as many worker processes, batches and frames, and takes the
same crops; it is what a training without a data folder does. Then the memory that an epoch of encoded frames holds at
most, in its process and its workers, with a file ten times as large. --videos takes clips of yours, below a folder.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.record import keep
from platform.datasets.encoded_frames import EncodedFrames, worker_context
from platform.datasets.readers.frames import read_frames
from platform.datasets.readers.odd_files import OddFiles
from platform.datasets.readers.squares import cropped
from platform.features.videos.decoding import SUFFIXES
from platform.features.videos.extra import needed
from platform.features.videos.spaced import spaced_frames

BASELINE = "videos decoded again"
_SAMPLED_SECONDS = 0.02
_MADE, _SECONDS, _RATE, _SIZE = 8, 10, 25, (340, 256)  # videos, as long as Kinetics' and of its usual size


class Videos:
    """What the baseline's workers are given: item i is batch i, (n, F, 3, side, side) uint8."""

    def __init__(self, batches: Sequence[Sequence[Path]], frames: int, side: int) -> None:
        self.batches, self.frames, self.side = batches, frames, side

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Tensor:
        clips = [[self._square(f) for f in spaced_frames(path, self.frames)] for path in self.batches[number]]
        return torch.from_numpy(np.array(clips).transpose(0, 1, 4, 2, 3).copy())

    def _square(self, frame: np.ndarray) -> np.ndarray:
        return np.asarray(cropped(Image.fromarray(np.ascontiguousarray(frame)), self.side))


def make_videos(folder: Path) -> list[Path]:
    """Moving patterns with some noise, which compress about as real clips do."""
    av, rng = needed("av"), np.random.default_rng(0)
    folder.mkdir()
    x, y = np.meshgrid(np.arange(_SIZE[0]), np.arange(_SIZE[1]))
    paths = [folder / f"{number}.mp4" for number in range(_MADE)]
    for number, path in enumerate(paths):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(_RATE))
            stream.width, stream.height = _SIZE
            stream.pix_fmt = "yuv420p"
            for t in range(_SECONDS * _RATE):
                plane = 128 + 50 * np.sin((x - (number + 1) * t) / 11) + 40 * np.cos((y + t) / 7)
                image = np.stack([plane, plane[::-1], plane[:, ::-1]], axis=2) + rng.normal(scale=6, size=(*x.shape, 3))
                frame = av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return paths


def decoded_again(
    paths: Sequence[Path], rows: Sequence[Tensor], frames: int, side: int, workers: int
) -> Iterator[Tensor]:
    """The baseline's batches."""
    batches = [[paths[row] for row in batch.tolist()] for batch in rows]
    context = worker_context() if workers else None
    yield from DataLoader(
        Videos(batches, frames, side), batch_size=None, num_workers=workers, multiprocessing_context=context
    )


def rate_of(epoch: Callable[[], Iterator[Tensor]]) -> float:
    """Clips a second of an epoch, in which every byte is read once as a training would."""
    started, clips = time.perf_counter(), 0
    for batch in epoch():
        clips += len(batch)
        batch.view(-1)[::4096].sum()
    return clips / (time.perf_counter() - started)


def read_epoch(path: Path, batch: int, workers: int) -> None:
    """What the measured process does."""
    torch.set_num_threads(1)
    frames = EncodedFrames(path)
    for found in frames.batches(torch.arange(len(frames)).split(batch), workers):
        found.view(-1)[::4096].sum()


def peak_mib(work: Callable[..., None], *given: Any) -> float:
    """MiB that a process held at most while it did the work, and those below it; without maps of files, which the
    system may drop."""
    process = get_context("spawn").Process(target=work, args=given)
    process.start()
    peak = 0
    while process.is_alive():
        peak = max(peak, sum(_held(pid) for pid in _family(process.pid)))
        process.join(_SAMPLED_SECONDS)
    if process.exitcode:
        raise RuntimeError(f"the process of {work.__name__} ended with {process.exitcode}")
    return peak / 2**10


def _family(pid: int) -> list[int]:
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *itertools.chain.from_iterable(_family(int(child)) for child in below)]


def _held(pid: int) -> int:
    """KiB; shared memory counts in each process that maps it, so that the sum is an upper bound."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=Path, help="folder of clips, in place of made ones")
    parser.add_argument("--clips", type=int, default=128, help="samples; the videos are repeated as often as it takes")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each, in turn; the median counts")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        if asked.videos is None:
            videos = make_videos(Path(home) / "videos")
        else:
            videos = sorted(path for path in asked.videos.rglob("*") if path.suffix.lower() in SUFFIXES)
        paths = [videos[i % len(videos)] for i in range(asked.clips)]
        file, large = Path(home) / "frames.arrow", Path(home) / "large.arrow"
        started = time.perf_counter()
        source = asked.videos or Path(home)
        found = read_frames(source, paths, asked.frames, asked.side, 0, OddFiles("videos"))
        found.encoded.values.write(file)
        imported = time.perf_counter() - started
        frames = EncodedFrames(file)
        if len(frames) != len(paths):
            raise RuntimeError(f"{len(paths) - len(frames)} of {len(paths)} clips cannot be read")
        frames[np.tile(np.arange(len(frames)), 10)].write(large)
        rows = list(torch.randperm(len(frames), generator=torch.Generator().manual_seed(0)).split(asked.batch))
        table = []
        for workers in asked.workers:
            ways = {
                BASELINE: lambda: decoded_again(paths, rows, asked.frames, asked.side, workers),  # noqa: B023
                "encoded frames": lambda: frames.batches(rows, workers),  # noqa: B023
            }
            rates = {name: [] for name in ways}
            for name, epoch in list(ways.items()) * (asked.rounds + 1):
                rates[name].append(rate_of(epoch))
            again, encoded = (statistics.median(several[1:]) for several in rates.values())  # the first warms up
            what = f"clips a second, {workers} workers" if workers else "clips a second, this process"
            table.append([what, BASELINE, f"{again:.1f}", f"{encoded:.1f}", f"{encoded / again:.1f}"])
        workers = max(asked.workers)
        small, tenfold = (peak_mib(read_epoch, path, asked.batch, workers) for path in (file, large))
        what = f"MiB held at most, {10 * len(frames):,} clips, {workers} workers"
        table.append([what, f"{len(frames):,} clips", f"{small:.0f}", f"{tenfold:.0f}", f"{tenfold / small:.2f}"])
        sizes = [path.stat().st_size / 2**20 for path in (file, large)]
        per_clip = asked.frames * 3 * asked.side**2 / 2**20
    keep(
        "frames",
        "Encoded frames: clips a second, and memory",
        ["", "baseline", "baseline's", "encoded frames", "ratio"],
        table,
        [
            f"{asked.clips} clips of {len(videos)} videos ({'made' if asked.videos is None else 'given'}), "
            f"{asked.frames} frames of {asked.side} x {asked.side}, batches of {asked.batch}; one thread a process; "
            f"median of {asked.rounds} epochs, which start their workers.",
            f"The files have {sizes[0]:.1f} and {sizes[1]:.1f} MiB; decoded, the clips take {per_clip:.2f} MiB each, "
            f"{per_clip * 10 * asked.clips:.0f} MiB all of the larger file. Made once, in this process, in "
            f"{imported:.1f} s.",
            "Memory is that of the process and its workers, anonymous and shared, which counts in each.",
        ],
    )


if __name__ == "__main__":
    main()
