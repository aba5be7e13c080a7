"""The code version, libraries and machine of a run, found without heavy imports."""

import os
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platform

_PROJECT = Path(__file__).parents[2]
_LIBRARIES = ("torch", "ray", "optuna", "mlflow")


def environment_tags() -> dict[str, str]:
    """Tags for a run; those that cannot be found (no git, no GPU) are left out."""
    tags = {
        "git.commit": _output("git", "-C", str(_PROJECT), "rev-parse", "HEAD"),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "cpus": str(os.cpu_count()),
        "gpu": _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").replace("\n", ", "),
    }
    if tags["git.commit"]:
        tags["git.dirty"] = str(bool(_output("git", "-C", str(_PROJECT), "status", "--porcelain"))).lower()
    for library in _LIBRARIES:
        try:
            tags[library] = version(library)
        except PackageNotFoundError:
            continue
    return {name: value for name, value in tags.items() if value}


def _output(*command: str) -> str:
    """A program's output without the trailing newline; empty where it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
