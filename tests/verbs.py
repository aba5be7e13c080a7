"""What the verbs' tests share: a data set that needs no text model, options that train in a second, and processes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.folder import write_dataset
from platform.tracking.record import KEY_TAG
from platform.tracking.store import open_store

ROOT = Path(__file__).parents[1]
CLASSES = ["bow", "clap", "drop", "hop", "jump", "kick", "nod", "wave"]
UNSEEN = ["hop", "wave"]
DIMENSION = 16
SMALL_FIELDS = {"z_r": 8, "z_v": 4, "n_d": 2, "classifier_samples": 20, "classifier_steps": 10, "learning_rate": 1e-3}
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
_ATTRIBUTES, _SAMPLES = 6, 30


def write_small_dataset(folder):
    """240 samples of 8 classes, each feature vector its class's attributes through a linear map, and noise."""
    rng = np.random.default_rng(0)
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
        features={"random": FeatureArray(features, "a linear map", "standard")},
        splits={
            "two": ClassSplit(unseen=UNSEEN, source="made up"),
            "one": ClassSplit(unseen=UNSEEN[:1], source="made up"),
            "seen": ClassSplit(unseen=["bow", *UNSEEN], source="made up"),
        },
    )
    return write_dataset(contents, folder).folder


def small_options(dataset, runs, epochs=2, **fields):
    """Options of `train` and `tune`."""
    values = {**SMALL_FIELDS, "epochs": epochs, **fields}
    assigned = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    return ["--dataset", str(dataset), "--split", "two", "--encoder", "attributes", "--runs", str(runs), *assigned]


def tracked_runs(home):
    """MLflow's runs in the default store under `home`, by their key."""
    client = open_store(home)
    found = client.search_runs([client.get_experiment_by_name("unseen").experiment_id])
    assert len({run.data.tags[KEY_TAG] for run in found}) == len(found)
    return {run.data.tags[KEY_TAG]: run for run in found}


def started(verb, *arguments):
    """The verb as a process, which a test can kill."""
    command = [sys.executable, "-m", f"platform.{verb}", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def events(output, kind):
    """The events of one kind in a `--json` output, of which every line must be one."""
    said = [json.loads(line) for line in output.splitlines()]
    return [event for event in said if event["event"] == kind]


def descendants(pid):
    """The processes under one: their ids and command lines."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    found, parents = {}, {str(pid)}
    while parents:
        below = {row[0]: row[2] for row in rows if row[1] in parents}
        found |= {int(child): command for child, command in below.items()}
        parents = set(below)
    return found
