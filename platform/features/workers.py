"""Data-parallel training of an extractor, on Ray Train."""

from pathlib import Path

from platform.data_parallel import on_workers
from platform.features.saved import SavedExtractor
from platform.features.training import Training, train


def train_on_workers(training: Training, folder: Path, workers: int, gpus: float) -> dict[str, SavedExtractor]:
    """Each worker takes its share of every batch, and gradients are averaged; as `on_workers`.

    Batch normalisation takes its statistics from a worker's share, as in the released scripts, so that results are
    close to one worker's but not the same.
    """
    on_workers(_work, training.model_dump_json(), folder, workers, gpus)
    return train(training, folder)


def _work(asked: str, folder: Path, rank: int, workers: int) -> None:
    from ray.train.torch import get_device

    train(Training.model_validate_json(asked), folder, device=get_device(), rank=rank, world_size=workers)
