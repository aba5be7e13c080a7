"""ERPCNet on encoded pictures against raw pixels, copied whole: `python -m benchmarks.pictures`.

The named baseline is how pictures were kept before they were encoded: uint8 pixels in a data folder, of which a task
copies its rows into memory. Measured are the pictures a second of an import and of a training epoch of stage I, with a
network so small that reading counts; the size on disk; and what the process that trains and its workers hold at most,
with a training split of CUB's and of AwA2's size. The baseline's memory is only measured where there is room for twice
as much.
"""

import argparse
import tempfile
import time
from multiprocessing import SimpleQueue, get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.frames import peak_mib
from benchmarks.record import keep
from methods.erpcnet import ERPCNetConfig
from methods.erpcnet.training import LocalityLearner
from platform.datasets.contents import ClassInfo, Contents, FeatureArray
from platform.datasets.encoded_pictures import EncodedPictures
from platform.datasets.folder import Dataset, write_dataset
from platform.datasets.readers.odd_files import OddFiles
from platform.datasets.readers.pictures import read_pictures
from platform.datasets.readers.squares import square
from platform.method import Member
from platform.workers import Workers
from platform.zeroshot.problem import rows_of
from platform.zeroshot.task import Task

RAW = "raw pixels"
_MADE, _SIZE, _CLASSES = 40, (500, 375), 4  # files of CUB's usual size
_TINY = {
    "backbone": "squeezenet1_1", "weights": "none", "frozen_blocks": 4, "sampler": "none", "side": 32, "batch_size": 64,
}  # fmt: skip


def make_files(folder: Path) -> list[str]:
    """JPEG files of patterns with some noise, which compress about as photographs do."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    x, y = np.meshgrid(np.arange(_SIZE[0]), np.arange(_SIZE[1]))
    for number in range(_MADE):
        plane = 128 + 50 * np.sin(x / (number + 5)) + 40 * np.cos((x + y) / 17)
        picture = np.stack([plane, plane[::-1], plane[:, ::-1]], axis=2) + rng.normal(scale=8, size=(*x.shape, 3))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)
    return [f"{number}.jpg" for number in range(_MADE)]


def import_raw(source: Path, names: list[str], side: int, path: Path) -> np.ndarray:
    """(N, 3 · side · side), as they were imported before."""
    with path.open("wb") as file:
        for name in names:
            file.write(square((source / name).read_bytes(), side).tobytes())
    return np.memmap(path, np.uint8, "r", shape=(len(names), 3 * side * side))


def write_folder(folder: Path, values: np.ndarray | EncodedPictures, count: int) -> float:
    """A data folder of `count` pictures, which are the same over and over; its size in MiB."""
    rows = np.arange(count) % len(values)
    if isinstance(values, EncodedPictures):
        features = {"pictures": FeatureArray(values[rows], "made", kind="pictures")}
    else:
        with tempfile.TemporaryFile() as file:
            for row in rows:
                file.write(values[row].tobytes())
            file.flush()
            repeated = np.memmap(file, np.uint8, "r", shape=(count, values.shape[1]))
        features = {"pixels": FeatureArray(repeated, "made", kind="pixels")}
    contents = Contents(
        name="made", modality="image", licence="none", source="made",
        classes=[ClassInfo(name=f"class {number}") for number in range(_CLASSES)],
        labels=np.arange(count) % _CLASSES, train=np.ones(count, bool), features=features,
    )  # fmt: skip
    write_dataset(contents, folder)
    return sum(path.stat().st_size for path in folder.rglob("*.arrow")) / 2**20


def train_epoch(folder: Path, trained: int, rates: SimpleQueue) -> None:
    """What the measured process does: a task of all pictures, and an epoch on some of them."""
    torch.set_num_threads(1)
    dataset = Dataset(folder)
    features = rows_of(dataset.features(), np.arange(len(dataset.labels)))
    names = tuple(dataset.class_names)
    task = Task(names, ("another",), features[:trained], torch.tensor(dataset.labels)[:trained], torch.eye(5))
    learner = LocalityLearner(Member(task, ERPCNetConfig(**_TINY), 0), Workers(torch.device("cpu")))
    learner.train_epoch()  # the first warms up
    started = time.perf_counter()
    learner.train_epoch()
    rates.put(trained / (time.perf_counter() - started))


def available_mib() -> float:
    """MiB that the system can give."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, nargs="+", default=[11_788, 37_322], help="of a split: CUB's, AwA2's")
    parser.add_argument("--imported", type=int, default=1000, help="pictures whose import is timed")
    parser.add_argument("--trained", type=int, default=2048, help="pictures of the epoch that is timed")
    parser.add_argument("--side", type=int, default=256)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rates, table, heading = get_context("spawn").SimpleQueue(), [], ["", RAW, "PNG (exact)", "JPEG"]
    with tempfile.TemporaryDirectory() as home:
        source = Path(home) / "files"
        files = make_files(source)
        names, made, seconds = [files[i % _MADE] for i in range(asked.imported)], [], []
        for way in heading[1:]:
            started = time.perf_counter()
            if way == RAW:
                made.append(import_raw(source, names, asked.side, Path(home) / "raw"))
            else:
                read = read_pictures(source, names, asked.side, way != "JPEG", 0, OddFiles("pictures"))
                made.append(read.encoded.values)
            seconds.append(time.perf_counter() - started)
        table.append(["imported pictures a second, this process", *(f"{asked.imported / s:.0f}" for s in seconds)])
        for count in asked.pictures:
            sizes, peaks, speeds = [], [], []
            for number, values in enumerate(made):
                folder = Path(home) / f"{count}-{number}"
                needed = 2 * count * 3 * asked.side**2 / 2**20
                if number == 0 and needed > available_mib():
                    for cells in (sizes, peaks, speeds):
                        cells.append("not measured")
                    continue
                sizes.append(f"{write_folder(folder, values, count):,.0f}")
                peaks.append(f"{peak_mib(train_epoch, folder, min(asked.trained, count), rates):,.0f}")
                speeds.append(f"{rates.get():.0f}")
                for path in folder.rglob("*.arrow"):
                    path.unlink()
            table += [
                [f"{count:,} pictures: MiB on disk", *sizes],
                [f"{count:,} pictures: MiB held at most", *peaks],
                [f"{count:,} pictures: trained a second", *speeds],
            ]
    keep(
        "pictures",
        "Encoded pictures: import, size, memory and training",
        heading,
        table,
        [
            f"{asked.side} x {asked.side}, made of {_MADE} files of {_SIZE[0]} x {_SIZE[1]}, repeated; one thread a "
            f"process. Trained: the second epoch of stage I on {asked.trained:,} of the pictures, SqueezeNet 1.1 with "
            f"its last block trained, random crops of {_TINY['side']} pixels, decoded by two workers.",
            "Memory is that of the process, with its libraries, and of its workers, anonymous and shared, which counts "
            "in each.",
        ],
    )


if __name__ == "__main__":
    main()
