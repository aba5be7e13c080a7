"""What the verbs' tests share: a data set that needs no text model, options that train in a second, and processes."""

import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from platform import cli
from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.folder import write_dataset
from platform.datasets.trained_on import NOT_TRAINED
from platform.tracking.record import KEY_TAG
from platform.tracking.store import open_store

ROOT = Path(__file__).parents[1]
CLASSES = ["bow", "clap", "drop", "hop", "jump", "kick", "nod", "wave"]
UNSEEN = ["hop", "wave"]
DIMENSION = 16
SMALL_FIELDS = {
    "z_r": 8,
    "z_v": 4,
    "n_d": 2,
    "learning_rate": 1e-2,
    "classifier_samples": 50,
    "classifier_steps": 50,
    "classifier_learning_rate": 1e-2,
    "seen_classifier": "latent",
}
SMALL_SPACE = """
source: a test
stages:
  - name: first
    trials: 2
    sampled:
      beta_x: {log_uniform: [1.0e-3, 1.0]}
      lambda_2: {same_as: beta_x}
  - name: second
    trials: 4
    sampled:
      lambda_1: {uniform: [0.5, 2.0]}
      batch_size: {choice: [16, 32]}
"""
PATIENCE = 500.0  # seconds for what ends by itself, on a machine that is busy too; less than pytest-timeout has
_ATTRIBUTES, _SAMPLES = 6, 30


def write_small_dataset(folder, seed=0):
    """240 samples of 8 classes, each feature vector its class's attributes through a linear map, and noise."""
    rng = np.random.default_rng(seed)
    attributes = rng.normal(size=(len(CLASSES), _ATTRIBUTES))
    labels = np.tile(np.arange(len(CLASSES)), _SAMPLES)
    features = attributes[labels] @ rng.normal(size=(_ATTRIBUTES, DIMENSION)) + rng.normal(
        size=(len(labels), DIMENSION)
    )
    contents = Contents(
        name="small",
        modality="skeleton",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=n, attributes=a.tolist()) for n, a in zip(CLASSES, attributes, strict=True)],
        labels=labels,
        train=np.arange(len(labels)) < 2 * len(labels) // 3,
        features={"random": FeatureArray(features, "a linear map", "standard", trained_on=NOT_TRAINED)},
        splits={
            "two": ClassSplit(unseen=UNSEEN, source="made up"),
            "one": ClassSplit(unseen=["kick", "wave"], source="made up"),  # one of them is unseen in `two` as well
            "seen": ClassSplit(unseen=["bow", *UNSEEN], source="made up"),
        },
    )
    return write_dataset(contents, folder).folder


def small_options(dataset, runs, epochs=2, **fields):
    """Options of `train` and `tune`."""
    values = {**SMALL_FIELDS, "epochs": epochs, **fields}
    assigned = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    return ["--dataset", str(dataset), "--split", "two", "--encoder", "attributes", "--runs", str(runs), *assigned]


def tracked_runs(folder):
    """MLflow's run of a search's or training's folder, and those under it by their key, in the default store."""
    client = open_store(folder.parent)
    found = client.search_runs([client.get_experiment_by_name("unseen").experiment_id])
    (parent,) = [run for run in found if run.data.tags[KEY_TAG] == folder.name]
    children = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    by_key = {run.data.tags[KEY_TAG]: run for run in children}
    assert len(by_key) == len(children)
    return parent, by_key


def invoked(verb, *arguments):
    """The verb in this process, as `python -m` runs it: exit code, standard output and standard error."""
    module = importlib.import_module(f"platform.{verb}")
    output, errors = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", [verb, *map(str, arguments)]),
        redirect_stdout(output),
        redirect_stderr(errors),
        pytest.raises(SystemExit) as ended,
    ):
        cli.run(module.app, f"platform.{verb}")
    return ended.value.code, output.getvalue(), errors.getvalue()


def started(verb, *arguments):
    """The verb as a process of its own, which a test can kill."""
    command = [sys.executable, "-m", f"platform.{verb}", *map(str, arguments)]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a script's shell ignores it for what it starts with `&`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # threads that wait for each other make a tiny training slow where other processes want the CPUs too
    environment = os.environ | {"OMP_THREAD_LIMIT": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process, code=0):
    """What a started verb printed, once it has ended with the expected exit code."""
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, output + errors
    return output, errors


def wait_for(what, process):
    """Until `what()` is true, while the process runs."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def events(output, kind):
    """The events of one kind in a `--json` output, of which every line must be one."""
    said = [json.loads(line) for line in output.splitlines()]
    return [event for event in said if event["event"] == kind]


def descendants(pid):
    """The processes under one: their ids and command lines."""
    rows = _processes()
    found, parents = {}, {pid}
    while parents:
        below = {child: command for child, parent, command in rows if parent in parents}
        found |= below
        parents = set(below)
    return found


def still_running(processes):
    """Those of the `descendants` found before that have not ended."""
    now = {child: command for child, _, command in _processes()}
    return processes.items() & now.items()


def _processes():
    """Every process: its id, its parent's and its command line."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [(int(pid), int(parent), command) for pid, parent, command in rows]
