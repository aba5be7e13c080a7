import json
import shutil

import numpy as np
import pytest
from verbs import CLASSES, DIMENSION, SMALL_FIELDS, UNSEEN, events, invoked, write_small_dataset

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.folder import Dataset, write_dataset
from platform.datasets.revision import revised
from platform.datasets.text import ClassText
from platform.errors import InputError, InputWarning
from platform.training.tested import model_and_samples
from platform.training.together import seeds_together
from platform.training.trainable import Experiment, train
from platform.zeroshot.problem import ProblemOptions, load_problem


@pytest.fixture(scope="module")
def small_dataset(tmp_path_factory):
    return write_small_dataset(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="module")
def trained(small_dataset, tmp_path_factory):
    """The outcome of a training, and its folder."""
    experiment = Experiment(
        method="methods.sadvae",
        problem=ProblemOptions(dataset=small_dataset, split="two", text=ClassText(encoder="attributes")),
        configs=({**SMALL_FIELDS, "epochs": 5},),
        seeds=(0,),
        test=True,
    )
    folder = tmp_path_factory.mktemp("trained")
    (outcome,) = train(experiment, folder)
    return outcome, folder


@pytest.fixture(scope="module")
def together(small_dataset, tmp_path_factory):
    """The outcome of two seeds together, and its folder; two of its three unseen classes are those of `two`."""
    experiment = Experiment(
        method="methods.sadvae",
        problem=ProblemOptions(dataset=small_dataset, split="seen", text=ClassText(encoder="attributes")),
        configs=({**SMALL_FIELDS, "epochs": 5},),
        seeds=(0, 1),
        test=True,
    )
    folder = tmp_path_factory.mktemp("together")
    (outcome,) = seeds_together(experiment, train(experiment, folder), folder)
    return outcome, folder


def evaluated(*arguments):
    code, output, errors = invoked("evaluate", *arguments, "--json")
    assert code == 0, errors
    (metrics,) = events(output, "metrics")
    return metrics


@pytest.mark.parametrize("protocol", ["clean", "released"])
def test_a_saved_model_has_the_metrics_of_its_training(trained, protocol):
    outcome, folder = trained
    metrics = evaluated(folder / outcome.models[protocol])
    assert metrics.items() >= {**outcome.test[protocol], "protocol": protocol, "split": "two"}.items()


@pytest.mark.parametrize("protocol", ["clean", "released"])
def test_a_saved_ensemble_has_the_metrics_of_its_training(together, protocol):
    outcome, folder = together
    metrics = evaluated(folder / outcome.models[protocol])
    assert metrics.items() >= {**outcome.test[protocol], "protocol": protocol, "split": "seen"}.items()


def test_a_split_with_fewer_classes_is_answered_by_them_alone(together):
    outcome, folder = together
    model = folder / outcome.models["clean"]
    metrics = evaluated(model, "--split", "two")
    assert metrics["split"] == "two"
    assert model_and_samples(model, split="two")[0].unseen == tuple(UNSEEN)
    seen, unseen = metrics["seen"], metrics["unseen"]  # how much the tiny model's gate lets through is chance
    assert metrics["harmonic_mean"] == pytest.approx(2 * seen * unseen / (seen + unseen) if seen + unseen else 0.0)
    code, _, errors = invoked("evaluate", model, "--split", "one")
    assert code == 2
    assert errors == "error: split `one`: class `kick` is unseen there, but the model was trained on it\n"


def test_samples_bring_their_references(trained, small_dataset, tmp_path):
    outcome, folder = trained
    dataset = Dataset(shutil.copytree(small_dataset, tmp_path / "told"))
    dataset = revised(dataset, {}, references=[[f"{CLASSES[label]} {i}"] for i, label in enumerate(dataset.labels)])
    model, samples, _ = model_and_samples(folder / outcome.models["clean"], dataset.folder)
    names = [(*model.seen, *model.unseen)[label] for label in samples.labels.tolist()]
    assert [told.split()[0] for (told,) in samples.references] == names
    assert len(samples.references) < len(dataset.labels)
    problem = ProblemOptions(dataset=dataset.folder, split="two", text=ClassText(encoder="attributes"))
    assert load_problem(problem).test.references == samples.references


def test_as_a_table_it_names_data_split_and_protocol(trained):
    outcome, folder = trained
    code, output, _ = invoked("evaluate", folder / outcome.models["clean"])
    assert code == 0
    assert "small, split two, protocol clean" in output
    assert f"{100 * outcome.test['clean']['zsl']:.1f}" in output
    assert "ZSL among 2 classes, chance 50.0 %" in output
    assert f"{outcome.counts['unseen_samples']} test samples of unseen classes" in output


def test_it_counts_the_samples_that_it_scored(trained):
    outcome, folder = trained
    counts = evaluated(folder / outcome.models["clean"])["counts"]
    assert counts.items() <= outcome.counts.items()
    assert (counts["unseen"], counts["unseen_samples"]) == (2, 2 * 30)  # all that there are, of either partition


def another_dataset(folder, classes=CLASSES, dimension=DIMENSION, train=False):
    count = 2 * len(classes)
    contents = Contents(
        name="another",
        modality="skeleton",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=name, attributes=[1.0] * 6) for name in classes],
        labels=np.arange(count) % len(classes),
        train=np.full(count, train),
        features={"random": FeatureArray(np.ones((count, dimension)), "none")},
        splits={"two": ClassSplit(unseen=[c for c in classes if c.lower() in UNSEEN], source="made up")},
    )
    return write_dataset(contents, folder).folder


@pytest.mark.parametrize(
    ("differently", "message"),
    [
        ({"dimension": 3}, "features have 3 dimensions, the model 16"),
        ({"classes": ["sleep", *UNSEEN]}, "no test sample of a class that is seen for this model"),
        ({"train": True}, "no test sample of a class that is seen for this model"),
    ],
)
def test_data_that_do_not_fit_the_model_are_refused(trained, tmp_path, differently, message):
    outcome, folder = trained
    dataset = another_dataset(tmp_path / "another", **differently)
    code, _, errors = invoked("evaluate", folder / outcome.models["clean"], "--dataset", dataset)
    assert code == 2
    assert errors.endswith(f"error: {dataset}: {message}\n")


def test_classes_that_are_spelled_otherwise_are_the_models_and_others_are_told(trained, tmp_path):
    outcome, folder = trained
    seen = [name for name in CLASSES if name not in UNSEEN]
    classes = [seen[0].upper(), f"{seen[1]} ", *seen[2:], *UNSEEN, "sleep"]
    dataset = another_dataset(tmp_path / "another", classes)
    with pytest.warns(InputWarning, match="2 samples of 1 classes that the model does not know are left out: sleep"):
        _, samples, _ = model_and_samples(folder / outcome.models["clean"], dataset)
    assert samples.labels.bincount().tolist() == [2] * len(CLASSES)
    twice = another_dataset(tmp_path / "twice", [*CLASSES, seen[0].upper()])
    with pytest.raises(
        InputError, match=f"classes `{seen[0]}` and `{seen[0].upper()}` are both the model's `{seen[0]}`"
    ):
        model_and_samples(folder / outcome.models["clean"], twice)


def test_a_class_that_was_trained_on_cannot_be_unseen_by_another_spelling(trained, tmp_path):
    outcome, folder = trained
    dataset = another_dataset(tmp_path / "another", [name.upper() for name in CLASSES])
    splits = json.loads((dataset / "splits.json").read_text())
    splits["two"]["unseen"] = ["KICK", "WAVE"]
    (dataset / "splits.json").write_text(json.dumps(splits))
    with pytest.raises(InputError, match="class `KICK` is unseen there, but the model was trained on `kick`"):
        model_and_samples(folder / outcome.models["clean"], dataset)


def test_a_class_that_was_trained_on_cannot_be_unseen(trained):
    outcome, folder = trained
    code, _, errors = invoked("evaluate", folder / outcome.models["clean"], "--split", "seen")
    assert code == 2
    assert errors == "error: split `seen`: class `bow` is unseen there, but the model was trained on it\n"


def test_a_folder_without_a_model_is_named(tmp_path):
    assert invoked("evaluate", tmp_path) == (2, "", f"error: {tmp_path} holds no model: it has no model.json\n")
