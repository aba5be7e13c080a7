"""The trainable on Ray Train: one experiment, data-parallel over several workers."""

from pathlib import Path

from platform.data_parallel import on_workers
from platform.training.trainable import Experiment, Outcome, read_outcomes, train


def train_on_workers(experiment: Experiment, folder: Path, workers: int, gpus: float) -> list[Outcome]:
    """Each worker takes its share of every batch, and gradients are averaged; as `on_workers`.

    Results differ from one worker's only in the pairs that D_T-like penalties permute within a share, and in rounding.
    """
    on_workers(_work, experiment.model_dump_json(), folder, workers, gpus)
    outcomes = read_outcomes(folder)
    if outcomes is None:
        raise RuntimeError(f"{folder}: the workers ended without an outcome")
    return outcomes


def _work(asked: str, folder: Path, rank: int, workers: int) -> None:
    train(Experiment.model_validate_json(asked), folder, rank=rank, world_size=workers)
