import json
from dataclasses import replace

import pytest
import torch

from methods.sadvae import method
from platform.errors import InputError
from platform.method import Member
from platform.training.fitting import Fitting, TrainingGroup, chosen_epoch
from platform.training.saved_models import load_model, save_model
from platform.workers import Workers
from platform.zeroshot.gate import Gate, Stacking

COMBINATIONS = [
    None,
    Stacking(0.1 + 0.2),
    Gate("soft", 3.0, 0.5, 2, (0.1, 1 / 3, -2.0, 0.0), 0.7),
    Gate("hard", 1.0, 0.46, 1, (1.0, -1.0), 0.0),
]


@pytest.fixture(scope="module")
def models(make_problem):
    """One model for each input of the seen classifier."""
    task, kinds = make_problem(10).task, ("features", "latent", "logits")
    task = replace(task, logits=torch.zeros(len(task.labels), len(task.seen)))
    small = {"z_r": 4, "z_v": 2, "epochs": 1, "classifier_steps": 5, "classifier_samples": 5}
    small |= {"classifier_relu": True, "classifier_fit": "adam"}
    members = [Member(task, method.configure({**small, "seen_classifier": kind}), 3) for kind in kinds]
    group = TrainingGroup("all", members, 0, None, {"last": chosen_epoch([0] * len(members))})
    Fitting(method, [group], Workers(torch.device("cpu"))).fit()
    return dict(zip(kinds, group.kept["last"].values(), strict=True))


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize("kind", ["features", "latent", "logits"])
def test_a_loaded_model_gives_the_same_scores(models, problem, tmp_path, kind, combination):
    model = models[kind].joined_by(combination)
    save_model("methods.sadvae", model, tmp_path / "models" / "m", {"protocol": "clean"})
    loaded, record = load_model(tmp_path / "models" / "m")
    x, logits = problem.test.features, torch.randn(len(problem.test.labels), 8)
    assert record == {"protocol": "clean"}
    assert loaded.combination == combination
    assert (loaded.seen, loaded.unseen, loaded.config) == (model.seen, model.unseen, model.config)
    assert torch.equal(loaded.unseen_scores(x), model.unseen_scores(x))
    assert torch.equal(loaded.given(logits).seen_scores(x), model.given(logits).seen_scores(x))
    if combination is not None:
        assert torch.equal(loaded.given(logits).scores(x), model.given(logits).scores(x))
    names, semantics = ("new 1", "new 2"), problem.task.semantics[:2]
    renamed, expected = (m.with_classes(names, semantics) for m in (loaded, model))
    assert torch.equal(renamed.unseen_scores(x), expected.unseen_scores(x))


def test_given_logits_are_not_saved(models, problem, tmp_path):
    given = models["logits"].given(torch.zeros(len(problem.test.labels), 8))
    save_model("methods.sadvae", given, tmp_path / "m", {})
    with pytest.raises(InputError, match="these samples have no logits"):
        load_model(tmp_path / "m")[0].seen_scores(problem.test.features)


def test_a_former_model_is_replaced_whole(models, tmp_path):
    save_model("methods.sadvae", models["features"], tmp_path / "m", {})
    (tmp_path / "m" / "stray").touch()
    save_model("methods.sadvae", models["latent"], tmp_path / "m", {})
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["model.json", "model.safetensors"]
    assert load_model(tmp_path / "m")[0].config.seen_classifier == "latent"
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no model: it has no model\.json"):
        load_model(tmp_path)


def test_a_model_of_another_version_is_refused(models, tmp_path):
    save_model("methods.sadvae", models["features"], tmp_path / "m", {})
    saved = json.loads((tmp_path / "m" / "model.json").read_text())
    saved["values"]["config"]["a_former_field"] = 1
    (tmp_path / "m" / "model.json").write_text(json.dumps(saved))
    with pytest.raises(InputError, match="m: saved by another version of its method"):
        load_model(tmp_path / "m")
