"""The trainable on Ray Train: one experiment, data-parallel over several workers."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platform.errors import InputError
from platform.runtime import torch_trainer
from platform.training.trainable import Experiment, Outcome, read_outcomes, train

_REASON = "why-it-ended.txt"
_PATIENCE = 24 * 3600  # seconds; the others wait while the first worker evaluates, or plays a policy's episodes


def train_on_workers(experiment: Experiment, folder: Path, workers: int, gpus: float) -> list[Outcome]:
    """Each worker takes its share of every batch, and gradients are averaged. Ray must be connected.

    Results differ from one worker's only in the pairs that D_T-like penalties permute within a share, and in rounding.
    `folder` must be one that all workers reach. A lost worker starts the group again from the last checkpoint. Raises
    InputError where a worker did.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig

    reason = folder / _REASON
    reason.unlink(missing_ok=True)
    try:
        torch_trainer()(
            _work,
            train_loop_config={"experiment": experiment.model_dump_json(), "folder": str(folder.resolve())},
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=gpus > 0, resources_per_worker={"GPU": gpus} if gpus else {"CPU": 1}
            ),
            torch_config=TorchConfig(timeout_s=_PATIENCE),
            run_config=RunConfig(
                name="train",
                storage_path=str((folder / "ray-train").resolve()),
                failure_config=FailureConfig(max_failures=3),
            ),
        ).fit()
    finally:
        shutil.rmtree(folder / "ray-train", ignore_errors=True)
    if reason.exists():
        said = reason.read_text()
        reason.unlink()
        raise InputError(said)
    outcomes = read_outcomes(folder)
    if outcomes is None:
        raise RuntimeError(f"{folder}: the workers ended without an outcome")
    return outcomes


def _work(config: Mapping[str, Any]) -> None:
    from ray import train as ray_train

    context, folder = ray_train.get_context(), Path(config["folder"])
    if (folder / _REASON).exists():
        return  # started again after the error below, which would only come again
    experiment = Experiment.model_validate_json(config["experiment"])
    try:
        train(experiment, folder, rank=context.get_world_rank(), world_size=context.get_world_size())
    except InputError as error:
        (folder / _REASON).write_text(str(error))
        raise  # a worker that has not met it may wait for this one: Ray ends them all
