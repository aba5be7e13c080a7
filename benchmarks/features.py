"""Clips a second of both extractors, and of the run over a data folder: `python -m benchmarks.features`.

The named baseline is one clip at a time, prepared and put through the network, as a plain test loop has it. Beside it:
batches, this process alone; then Ray Data's run with one worker and with two, and what it takes beyond the clips.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import keep
from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray, Skeletons
from platform.datasets.folder import Dataset, write_dataset
from platform.features.extractors import EXTRACTORS, find_extractor
from platform.features.saved import SavedExtractor
from platform.features.training import extractor_path
from platform.features.writing import Writing, extract, write
from platform.training.devices import device_of

JOINTS, CLASSES = 25, 60
ALONE = "one clip at a time"


def write_clips(folder: Path, clips: int, frames: int) -> Dataset:
    """Two-body clips of NTU's shape: random walks around a standing pose."""
    rng = np.random.default_rng(0)
    pose = rng.normal(size=(1, 2, JOINTS, 3))
    values = [pose + rng.normal(scale=0.01, size=(frames, 2, JOINTS, 3)).cumsum(axis=0) for _ in range(clips)]
    contents = Contents(
        name="clips",
        modality="skeleton",
        licence="none",
        source="made by this benchmark",
        classes=[ClassInfo(name=f"action {i}") for i in range(4)],
        labels=np.arange(clips) % 4,
        train=np.arange(clips) % 2 == 0,
        features={"none": FeatureArray(np.zeros((clips, 1)), "none")},
        skeletons=Skeletons([v.astype(np.float32) for v in values], "kinect_v2"),
        splits={"one": ClassSplit(unseen=["action 0"], source="made")},
        simulated=True,
    )
    return write_dataset(contents, folder)


def untrained(name: str, frames: int) -> SavedExtractor:
    """An extractor with its starting weights: they take as long as others."""
    extractor = find_extractor(name)
    config = extractor.configure({"frames": frames, "bodies": 2})
    torch.manual_seed(0)
    network = extractor.build(config, CLASSES, "kinect_v2").eval()
    return SavedExtractor(name, config, "kinect_v2", None, network, {"weights": "none"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--frames", type=int, default=64, help="NTU's released configurations have 300")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="of this process; each of Ray's workers has one")
    parser.add_argument("--no-ray", action="store_true", help="leave the runs by Ray Data out")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = device_of(asked.device)
    rows = []
    with tempfile.TemporaryDirectory() as home:
        dataset = write_clips(Path(home) / "clips", asked.clips, asked.frames)
        every = np.arange(asked.clips)
        for name in EXTRACTORS:
            extractor = untrained(name, asked.frames)
            extractor.network.to(device)
            extract(extractor, dataset, every[:2], 1, device)
            rates: dict[str, float] = {}
            for batch in (1, *asked.batches):
                started = time.perf_counter()
                extract(extractor, dataset, every, batch, device)
                rates[ALONE if batch == 1 else f"batches of {batch}"] = asked.clips / (time.perf_counter() - started)
            for workers in () if asked.no_ray else (0, 1, 2):
                seconds = _run(extractor, dataset, Path(home) / f"{name}-{workers}", workers, device)
                rates["run, this process" if not workers else f"run by Ray Data, {workers} workers"] = (
                    asked.clips / seconds
                )
            rows += [
                [EXTRACTORS[name].title, what, f"{rate:.1f}", f"{rate / rates[ALONE]:.2f}"]
                for what, rate in rates.items()
            ]
    keep(
        f"features-{device.type}",
        f"Extractors: clips a second, {device.type}",
        ["extractor", "", "clips a second", "times one clip at a time"],
        rows,
        [
            f"{asked.clips} clips of {asked.frames} frames, {JOINTS} joints, two bodies; "
            f"threads in this process: {asked.threads}, in each of Ray's workers: 1.",
            "A run also writes a data folder; Ray's also starts its workers, which import PyTorch.",
        ],
    )


def _run(extractor: SavedExtractor, dataset: Dataset, folder: Path, workers: int, device: torch.device) -> float:
    """Seconds of a run over the folder. Ray itself is connected before the clock starts."""
    if workers:
        from platform import runtime

        runtime.connect(None)
    extractor.write(extractor_path(folder, "final"))
    writing = Writing(
        dataset=dataset.folder, feature_set="made", replace=True, chunk=16, batch=16, device=str(device.type)
    )
    started = time.perf_counter()
    write(writing, folder, workers, float(workers > 0 and device.type == "cuda"))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
