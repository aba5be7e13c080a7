"""What a training says of itself before it starts."""

from dataclasses import replace

import numpy as np
import pytest
from verbs import write_small_dataset

from platform.datasets.contents import FeatureArray
from platform.datasets.folder import Dataset
from platform.datasets.revision import revised
from platform.datasets.text import ClassText
from platform.report.setting import setting_of
from platform.train import setup_of
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import Experiment
from platform.zeroshot.problem import ProblemOptions, load_problem


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A function of fields, to an experiment on a folder with two feature sets."""
    dataset = write_small_dataset(tmp_path_factory.mktemp("data") / "small")
    count = len(Dataset(dataset).labels)
    revised(Dataset(dataset), {"other": FeatureArray(np.ones((count, 3)), "nothing; of ones")})

    def experiment(features="random", **fields):
        text = ClassText(encoder="attributes")
        problem = ProblemOptions(dataset=dataset, split="two", features=features, text=text)
        plain = {"method": "methods.sadvae", "configs": ({},), "seeds": (0, 1), "test": True}
        return Experiment(problem=problem, **{**plain, **fields})

    return experiment


def said(experiment, preset=None):
    setup = setup_of(experiment)
    return setting_of(experiment, setup, {s: setup.data.loaded(s) for s in setup.data.splits}, preset)


def test_the_set_of_features_is_said_with_those_that_were_not_taken(experiment):
    found = said(experiment())
    assert found["features"] == "random: 16 dimensions, normalise standard; a linear map; not taken: other"
    assert said(experiment("other"))["features"].startswith("other: 3 dimensions, normalise none; nothing")
    assert found["data"].startswith("small (skeleton), ")
    assert "SIMULATED" not in found["data"]
    assert found["class text"] == "name, by attributes: 6 dimensions"


def test_fields_that_differ_from_the_default_are_named_beside_it(experiment):
    assert said(experiment())["configuration"].startswith("every field at its default")
    found = said(experiment(configs=({"learning_rate": 1e-3, "combination": "hard", "epochs": 10},)), "mine")
    assert found["method"] == "methods.sadvae, preset mine"
    assert "learning_rate=0.001 (3.39e-05)" in found["configuration"]
    assert "combination=hard (soft)" in found["configuration"]
    assert "epochs" not in found["configuration"]  # 10 is the default


def test_classes_and_samples_of_training_validation_and_test_are_counted(experiment):
    asked = experiment(protocol=ProtocolOptions(folds=2))
    found = said(asked)
    problem = load_problem(asked.problem)
    folds = problem.validation_folds(2, 0.2, 0)
    assert found["training"] == f"{len(problem.task.labels)} samples of 6 seen classes"
    assert found["validation"].startswith(f"2 folds: {len(folds[0].task.labels)} training samples of 4 classes")
    held_out = int((folds[0].samples.labels >= 4).sum())
    assert f"{held_out} samples of 2 pseudo-unseen classes" in found["validation"]
    assert found["test"].startswith("ZSL among 2 classes, chance 50.0 %; s, u and H over 6 seen and 2 unseen ones")
    assert found["seeds"] == "0, 1"
    assert "it leaks" in found["protocol"]
    assert said(experiment(protocol=ProtocolOptions(protocols=("clean",))))["protocol"] == "clean"


def test_several_splits_are_one_range(experiment):
    found = said(experiment(splits=("two", "seen")))
    assert found["split"] == "two, seen"
    assert "samples of 5 to 6 seen classes" in found["training"]
    assert "2 to 3 classes, chance 33.3 to 50.0 %" in found["test"]


def test_features_are_not_copied_to_count_samples(experiment):
    problem = load_problem(experiment().problem)
    wide = replace(problem, task=replace(problem.task, features=_Untouched(problem.task.features)))
    assert setting_of(experiment(), setup_of(experiment()), {"two": wide})["training"].endswith("seen classes")


class _Untouched:
    """Features that return their first column alone."""

    def __init__(self, values):
        self.values = values

    def __getitem__(self, key):
        assert key == (slice(None), slice(None, 1))
        return self.values[key]
