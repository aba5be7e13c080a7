"""Ray: connecting to it, and what its workers need to know."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from platform.errors import InputError

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer

ROOT = Path(__file__).resolve().parent.parent

# what a cluster's nodes must not be sent with the code
_EXCLUDED = [".git", ".venv", "runs", "data", "**/__pycache__", "benchmarks/results"]


def connect(address: str | None = None) -> None:
    """Connect to a cluster, or start Ray on this machine. Raises InputError where there is no cluster at `address`.

    Workers import the standard library's `platform` before anything of ours; they find the package of that name only
    where the root is on their path from the start, so it goes into the runtime environment.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # leave CUDA_VISIBLE_DEVICES to the user
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # our folder holds the results
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is the verb's to answer
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the verbs show their own progress
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")  # and say what was lost
    import ray

    if ray.is_initialized():
        return
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    # a node's errors, a lost worker among them, go to standard output otherwise, where `--json` promises only events
    ray._private.worker._worker_logs_enabled = False
    if address is None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {"env_vars": {"PYTHONPATH": path}}
    else:
        environment = {"working_dir": str(ROOT), "excludes": _EXCLUDED}
    try:
        ray.init(
            address=address or "local",
            runtime_env=environment,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, TimeoutError) as error:
        raise InputError(f"--address {address}: no Ray cluster answers there ({str(error).splitlines()[0]})") from error


def resources() -> tuple[float, float]:
    """CPUs and GPUs of all nodes."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(node.get("CPU", 0.0) for node in nodes), sum(node.get("GPU", 0.0) for node in nodes)


def gpus_of_each(workers: int, address: str | None) -> float:
    """GPUs of each data-parallel worker: one, or none where there are too few for all, which then take a CPU each.

    Raises InputError where this machine has too few CPUs: Ray would wait for more, which a cluster may still get.
    """
    cpus, gpus = resources()
    if gpus >= workers:
        return 1.0
    if address is None and cpus < workers:
        raise InputError(f"--workers {workers}: this machine has {int(cpus)} CPUs, and each worker takes one")
    return 0.0


def torch_trainer() -> "type[TorchTrainer]":
    """Ray Train's, but that Ctrl-C is the verb's to answer: Ray's own handler would end the process with 0."""
    from ray.train.torch import TorchTrainer

    class Trainer(TorchTrainer):
        def _register_sigint_handler(self, controller: object) -> None:
            pass

    return Trainer
