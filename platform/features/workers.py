"""Data-parallel training of an extractor, on Ray Train."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platform.errors import InputError
from platform.features.saved import SavedExtractor
from platform.features.training import Training, train
from platform.runtime import torch_trainer

_REASON = "why-it-ended.txt"


def train_on_workers(training: Training, folder: Path, workers: int, gpus: float) -> dict[str, SavedExtractor]:
    """Each worker takes its share of every batch, and gradients are averaged. Ray must be connected.

    Batch normalisation takes its statistics from a worker's share, as in the released scripts, so that results are
    close to one worker's but not the same. `folder` must be one that all workers reach. A lost worker starts the group
    again from the last checkpoint.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    try:
        torch_trainer()(
            _work,
            train_loop_config={"training": training.model_dump_json(), "folder": str(folder.resolve())},
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=gpus > 0, resources_per_worker={"GPU": gpus} if gpus else {"CPU": 1}
            ),
            run_config=RunConfig(
                name="train",
                storage_path=str((folder / "ray-train").resolve()),
                failure_config=FailureConfig(max_failures=3),
            ),
        ).fit()
    finally:
        shutil.rmtree(folder / "ray-train", ignore_errors=True)
    if (reason := folder / _REASON).exists():
        said = reason.read_text()
        reason.unlink()
        raise InputError(said)
    return train(training, folder)


def _work(config: Mapping[str, Any]) -> None:
    from ray import train as ray_train
    from ray.train.torch import get_device

    context = ray_train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    training = Training.model_validate_json(config["training"])
    try:
        train(training, Path(config["folder"]), device=get_device(), rank=rank, world_size=workers)
    except InputError as error:  # all workers raise it together; Ray would start them again
        if rank == 0:
            (Path(config["folder"]) / _REASON).write_text(str(error))
