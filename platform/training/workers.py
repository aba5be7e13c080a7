"""The trainable on Ray Train: one experiment, data-parallel over several workers."""

from pathlib import Path

from platform.data_parallel import on_workers
from platform.training.trainable import Experiment, Outcome, read_outcomes, train


def train_on_workers(experiment: Experiment, folder: Path, workers: int, gpus: float) -> list[Outcome]:
    """Train data-parallel: each worker takes its share of every batch, and gradients are averaged; see `on_workers`.

    Results differ from one worker's only by rounding, and where a loss pairs samples within a worker's share.
    """
    on_workers(_work, experiment.model_dump_json(), folder, workers, gpus)
    outcomes = read_outcomes(folder)
    if outcomes is None:
        raise RuntimeError(f"{folder}: the workers ended without an outcome")
    return outcomes


def _work(asked: str, folder: Path, rank: int, workers: int) -> None:
    train(Experiment.model_validate_json(asked), folder, rank=rank, world_size=workers)
