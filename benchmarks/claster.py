"""CLASTER's centroids, its environment, and its memory over a large data folder: `python -m benchmarks.claster`.

Each line is a ratio against a named baseline of the same run:

- iterations a second of the centroids' update by a batch (Eq. 5), against the same equation point by point;
- iterations a second, networks and centroids, against centroids that stand still, and against a population of one;
- steps a second of the vectorised environment, actions at random, against the single one;
- memory of a fit over a memory-mapped data folder, in a process of its own, against the features read into memory.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.population import SEEN, TEXT, UNSEEN, second_epoch, task_of
from benchmarks.record import keep
from methods.claster.clustering import distances, reinforcement
from methods.environments.centroids import CentroidsEnv, CentroidsVectorEnv, Clustering
from platform.datasets.contents import ClassInfo, Contents, FeatureArray
from platform.datasets.folder import Dataset, write_dataset
from platform.method import Member, load_method
from platform.training.devices import device_of
from platform.training.evaluation import cluster_metrics
from platform.workers import Workers
from platform.zeroshot.task import Task

CLUSTERS, ALPHA = 6, 0.1
BATCHES, DIMENSIONS = (64, 512), (256, 4096)
BATCH, STEPS, PACK = 64, 30, 8
PLACES = (1, 16, 64, 256)
LARGE_DIMENSION, LARGE_TEXT, LARGE_STEPS = 8192, 300, 50
_CHUNK = 4096  # rows that are made at once
_SAMPLED_SECONDS = 0.02  # how often a process's memory is looked at

Row = Sequence[object]


def update_rows(repeats: int, seconds: float) -> list[Row]:
    """The centroids' update alone."""
    rows = []
    for dimension in DIMENSIONS:
        for batch in BATCHES:
            given = _batch(batch, 2 * dimension)
            torch.testing.assert_close(vectorised_update(*given), update_by_point(*given), rtol=1e-3, atol=1e-5)
            rates = _rates(
                {"loop": partial(_rate, partial(update_by_point, *given), seconds),
                 "vectorised": partial(_rate, partial(vectorised_update, *given), seconds)}, repeats
            )  # fmt: skip
            what = f"centroid updates a second, batch {batch}, {2 * dimension} dimensions"
            rows.append(_row(what, "point by point", rates["loop"], rates["vectorised"]))
    return rows


def _batch(count: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points (N, W), centroids (K, W), rewards (N,) and scores (N,), so near one another that the steps are not 0."""
    draw = torch.Generator().manual_seed(0)
    points = torch.randn(count, width, generator=draw) / width**0.5
    reward = torch.where(torch.rand(count, generator=draw) < 0.5, 1.0, -1.0)
    return points, points[:CLUSTERS] * 0.5, reward, torch.rand(count, generator=draw)


def vectorised_update(points: Tensor, centroids: Tensor, reward: Tensor, score: Tensor) -> Tensor:
    """The centroids (K, W) after a batch, as the population moves them."""
    d = distances(points, centroids)
    return centroids + ALPHA * reinforcement(points, centroids, d.argmin(dim=1), d, reward, score)


def update_by_point(points: Tensor, centroids: Tensor, reward: Tensor, score: Tensor) -> Tensor:
    """The same, one point after the other."""
    moves, counts = torch.zeros_like(centroids), [0] * len(centroids)
    for point, r, z in zip(points, reward, score, strict=True):
        d = (centroids - point).square().sum(dim=1).sqrt()
        nearest = int(d.argmin())
        p = 2 * (1 - torch.sigmoid(d[nearest]))
        moves[nearest] += r * (z - p) * (point - centroids[nearest])
        counts[nearest] += 1
    return torch.stack([c + ALPHA * m / max(n, 1) for c, m, n in zip(centroids, moves, counts, strict=True)])


def iteration_rows(hidden: int, repeats: int, device: torch.device) -> list[Row]:
    """Whole iterations of members that train the networks too."""
    task = task_of(STEPS * BATCH)
    still, alone, pack = "centroids that stand still (k-means)", "one", f"a pack of {PACK}"
    rates = _rates(
        {still: partial(iteration_rate, task, hidden, 1, "kmeans", device),
         alone: partial(iteration_rate, task, hidden, 1, "reinforce", device),
         pack: partial(iteration_rate, task, hidden, PACK, "reinforce", device)}, repeats
    )  # fmt: skip
    what = f"member iterations a second, batch {BATCH}, hidden {hidden}"
    return [
        _row(f"{what}, a population of one", still, rates[still], rates[alone]),
        _row(f"{what}, {pack}", "a population of one", rates[alone], rates[pack]),
    ]


def iteration_rate(task: Task, hidden: int, members: int, clustering: str, device: torch.device) -> float:
    """Member-iterations a second in the second epoch."""
    method = load_method("methods.claster")
    fields = {"hidden": hidden, "batch_size": BATCH, "iterations": STEPS, "epochs": 2, "clustering": clustering}
    config = method.configure({**fields, "clusters": CLUSTERS, "projection_steps": 1})  # fitted before the first epoch
    return members * STEPS / second_epoch(method, [Member(task, config, seed) for seed in range(members)], device)


def environment_rows(repeats: int, seconds: float) -> list[Row]:
    """Environment steps, all places together."""
    clustering = _clustering()
    measures = {"single": partial(single_rate, clustering, seconds)}
    measures |= {f"{count}": partial(vector_rate, clustering, count, seconds) for count in PLACES}
    rates = _rates(measures, repeats)
    return [
        _row(f"environment steps a second, vectorised, places: {count}", "the single environment", rates["single"],
             rates[f"{count}"]) for count in PLACES
    ]  # fmt: skip


def _clustering() -> Clustering:
    """Points of 2 × 256 dimensions, and one layer that reads SEEN classes from them."""
    width, draw = 2 * DIMENSIONS[0], torch.Generator().manual_seed(0)
    points, readout = torch.randn(4096, width, generator=draw), torch.randn(width, SEEN, generator=draw) / width**0.5
    labels = (points @ readout).argmax(dim=1)
    return Clustering(points, labels, points[:CLUSTERS].clone(), lambda omega: (omega @ readout).softmax(dim=-1))


def single_rate(clustering: Clustering, seconds: float) -> float:
    env = CentroidsEnv(clustering)
    env.reset(seed=0)

    def step() -> None:
        *_, truncated, _ = env.step(env.action_space.sample())
        if truncated:
            env.reset()

    return _rate(step, seconds)


def vector_rate(clustering: Clustering, places: int, seconds: float) -> float:
    env = CentroidsVectorEnv(clustering, places)
    env.reset(seed=0)
    return places * _rate(lambda: env.step(env.action_space.sample()), seconds)


def memory_rows(samples: int, hidden: int, scratch: Path | None) -> list[Row]:
    """Peak memory of a fit, mapped and copied; the features' file is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="claster-", dir=scratch) as folder:
        data = write_large(samples, Path(folder)).folder
        copied, mapped = (_peak(data, hidden, copy) for copy in (True, False))
    size = f"{samples:,} × {LARGE_DIMENSION} features ({samples * LARGE_DIMENSION * 4 / 2**30:.2f} GiB)"
    what = f"GiB of anonymous memory at most, {size}, hidden {hidden}, {LARGE_STEPS} iterations"
    return [
        (f"{what}, memory-mapped", "features in memory", f"{copied:.2f}", f"{mapped:.2f}", f"{mapped / copied:.2f}")
    ]


def write_large(samples: int, folder: Path) -> Dataset:
    """A data folder whose samples lie about their classes' means, made chunk by chunk."""
    draw, path = np.random.default_rng(0), folder / "made.npy"
    classes = SEEN + UNSEEN
    labels = draw.integers(SEEN, size=samples)
    means = draw.standard_normal((SEEN, LARGE_DIMENSION), dtype=np.float32)
    features = np.lib.format.open_memmap(path, "w+", np.float32, (samples, LARGE_DIMENSION))
    for start in range(0, samples, _CHUNK):
        own = labels[start : start + _CHUNK]
        features[start : start + _CHUNK] = means[own] + draw.standard_normal(
            (len(own), LARGE_DIMENSION), dtype=np.float32
        )
    contents = Contents(
        name="large",
        modality="video",
        licence="none",
        source="made up",
        classes=[ClassInfo(name=f"class {i}") for i in range(classes)],
        labels=labels,
        train=np.ones(samples, bool),
        features={"made": FeatureArray(features, "made up")},
        embeddings={"made": draw.standard_normal((classes, LARGE_TEXT), dtype=np.float32)},
        simulated=True,
    )
    dataset = write_dataset(contents, folder / "large")
    path.unlink()
    return dataset


def _peak(folder: Path, hidden: int, copied: bool) -> float:
    """GiB of anonymous memory that a process held at most while it trained on a data folder."""
    process = multiprocessing.get_context("spawn").Process(
        target=train_on_large, args=(folder, hidden, copied, torch.get_num_threads())
    )
    process.start()
    status, peak = Path(f"/proc/{process.pid}/status"), 0
    while process.is_alive():
        peak = max(peak, _anonymous(status))
        process.join(_SAMPLED_SECONDS)
    if process.exitcode:
        raise RuntimeError(f"the process that trained on {folder} ended with {process.exitcode}")
    return peak / 2**20


def _anonymous(status: Path) -> int:
    """KiB of a process's memory that no file stands behind; 0 for one that has ended."""
    try:
        lines = status.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


def train_on_large(folder: Path, hidden: int, copied: bool, threads: int) -> None:
    """A fit, and the purity of its clusters over all training samples, as a test has it."""
    torch.set_num_threads(threads)
    device, method = device_of("cpu"), load_method("methods.claster")
    task = large_task(Dataset(folder), copied)
    config = method.configure({"hidden": hidden, "batch_size": BATCH, "iterations": LARGE_STEPS, "epochs": 1})
    population = method.population([Member(task, config, 0)], Workers(device))
    population.train_epoch()
    cluster_metrics(population.models([0])[0], task.samples())


def large_task(dataset: Dataset, copied: bool) -> Task:
    """All samples to train on. A split's task would hold a copy of the rows that it selects; this one is the map."""
    features = dataset.features()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # nothing writes into a task's features
        mapped = torch.from_numpy(features)
    names = tuple(dataset.class_names)
    return Task(
        seen=names[:SEEN],
        unseen=names[SEEN:],
        features=mapped.clone() if copied else mapped,
        labels=torch.tensor(dataset.labels),
        semantics=torch.nn.functional.normalize(torch.tensor(dataset.embedding("made")), dim=1),
    )


def _rates(measures: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Each measure's rates, round by round, so that what else the machine does meets all of them."""
    rounds = [{name: measure() for name, measure in measures.items()} for _ in range(repeats)]
    return {name: [found[name] for found in rounds] for name in measures}


def _rate(work: Callable[[], object], seconds: float) -> float:
    """Calls a second over at least so long, after one that does not count."""
    work()
    calls, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        work()
        calls += 1
    return calls / passed


def _row(what: str, against: str, baseline: Sequence[float], found: Sequence[float]) -> Row:
    """Medians, and the median of the rounds' own ratios."""
    ratio = statistics.median(own / other for own, other in zip(found, baseline, strict=True))
    return what, against, *(f"{statistics.median(rates):.4g}" for rates in (baseline, found)), f"{ratio:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measure of updates and of environments")
    parser.add_argument("--hidden", type=int, default=512, help="width of the networks' hidden layers")
    parser.add_argument("--samples", type=int, default=100_000, help="of the large data folder; 0: leave it out")
    parser.add_argument(
        "--scratch", type=Path, help="where that folder is made: twice 32 KiB a sample; temporary files'"
    )
    parser.add_argument("--device", default="cpu", help="of the whole iterations; all else is measured on the CPU")
    parser.add_argument("--threads", type=int, default=1, help="as a search's trials have it")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = device_of(asked.device)
    rows = update_rows(asked.repeats, asked.seconds)
    rows += iteration_rows(asked.hidden, asked.repeats, device)
    rows += environment_rows(asked.repeats, asked.seconds)
    rows += memory_rows(asked.samples, asked.hidden, asked.scratch) if asked.samples else []
    keep(
        f"claster-{device.type}",
        f"CLASTER: centroids, environment and memory, {device.type}",
        ["measured", "against", "baseline", "here", "ratio"],
        rows,
        [
            f"Medians of {asked.repeats} rounds, ratios within a round; threads: {asked.threads}. K = {CLUSTERS}; "
            f"whole iterations: {DIMENSIONS[0]} features, {TEXT}-d text.",
            "Memory: one run each, a fit and the purity of its clusters over all samples; pages of the mapped file, "
            "which the system takes back where it needs them, do not count.",
        ],
    )


if __name__ == "__main__":
    main()
