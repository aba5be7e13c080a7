"""One piece of work on several data-parallel workers of Ray Train."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform import runtime
from platform.errors import InputError

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer

Work = Callable[[str, Path, int, int], None]  # request, folder, rank, number of workers
_REASON = "why-it-ended.txt"
_PATIENCE = 4 * 3600  # seconds; the others wait while the first worker evaluates, or plays a policy's episodes


def gpus_of_each(workers: int, address: str | None) -> float:
    """GPUs of each worker: one, or none where there are too few for all, which then take a CPU each.

    Raises InputError where this machine has too few CPUs: Ray would wait for more, which a cluster may still get.
    """
    cpus, gpus = runtime.resources()
    if gpus >= workers:
        return 1.0
    if address is None and cpus < workers:
        raise InputError(f"--workers {workers}: this machine has {int(cpus)} CPUs, and each worker takes one")
    return 0.0


def on_workers(work: Work, asked: str, folder: Path, workers: int, gpus: float) -> None:
    """Run `work` on several workers, each with its own rank; results are written into the folder.

    work: a module-level function. All workers must be able to reach `folder`. When a worker is lost, all are restarted,
    so that `work` must resume from what it has written. Raises InputError where a worker did. Ray must be connected.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig

    folder = folder.resolve()
    (reason := folder / _REASON).unlink(missing_ok=True)
    try:
        _trainer()(
            _guarded,
            train_loop_config={"work": work, "asked": asked, "folder": str(folder)},
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=gpus > 0, resources_per_worker={"GPU": gpus} if gpus else {"CPU": 1}
            ),
            torch_config=TorchConfig(timeout_s=_PATIENCE),
            run_config=RunConfig(
                name="train",
                storage_path=str(folder / "ray-train"),
                failure_config=FailureConfig(max_failures=3),
            ),
        ).fit()
    finally:
        shutil.rmtree(folder / "ray-train", ignore_errors=True)
        if reason.exists():  # also where the workers were lost too often before
            said = reason.read_text()
            reason.unlink()
            raise InputError(said)


def _guarded(config: Mapping[str, Any]) -> None:
    from ray import train as ray_train

    context, folder = ray_train.get_context(), Path(config["folder"])
    if (folder / _REASON).exists():
        return  # restarted after the error below, which would only be raised again
    try:
        config["work"](config["asked"], folder, context.get_world_rank(), context.get_world_size())
    except InputError as error:
        with suppress(OSError):  # a folder that cannot be written to may be what is wrong
            (folder / _REASON).write_text(str(error))
        # other workers may wait for this one: Ray ends them all; it can only unpickle a plain exception
        raise RuntimeError(str(error)) from None


def _trainer() -> "type[TorchTrainer]":
    """Ray Train's trainer without its Ctrl-C handler, which would exit with code 0; the verb handles it."""
    from ray.train.torch import TorchTrainer

    class Trainer(TorchTrainer):
        def _register_sigint_handler(self, controller: object) -> None:
            pass

    return Trainer
