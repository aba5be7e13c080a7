"""Ray: connecting to it, and what its workers need to know."""

import logging
import os
from pathlib import Path

from platform.errors import InputError

ROOT = Path(__file__).resolve().parent.parent

# not sent to a cluster's nodes with the code
_EXCLUDED = [".git", ".venv", "runs", "data", "**/__pycache__", "benchmarks/results"]


def connect(address: str | None = None) -> None:
    """Connect to a cluster, or start Ray on this machine. Raises InputError where there is no cluster at `address`.

    Workers import the standard library's `platform` before anything of ours; they find the package of that name only
    where the root is on their path from the start, so it goes into the runtime environment.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # leave CUDA_VISIBLE_DEVICES to the user
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # results are in our own folder
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # the verb handles Ctrl-C
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the verbs show their own progress
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")  # and report lost workers
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
