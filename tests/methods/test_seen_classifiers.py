"""Logits that a data folder gives take the place of a method's own seen scores, where its Config says so."""

from dataclasses import replace

import pytest
import torch

from platform.errors import InputError
from platform.method import Member, load_method

SMALL = {
    "sadvae": {"epochs": 1, "z_r": 8, "classifier_samples": 20},
    "synse": {"epochs": 1, "z_s": 8, "cycle": 12, "alpha_start": 4, "classifier_samples": 20},
    "cadavae": {"epochs": 1, "z": 6, "hidden": False, "classifier_samples": 20, "combination": "hard"},
    "revise": {"epochs": 1, "code": 8, "shared": 6, "hidden": 12, "batch_size": 16},
    "jpose": {"epochs": 1, "width": 6, "joint": 5, "hidden": 7, "batch_size": 16},
    "smie": {"epochs": 1, "hidden_1": 9, "hidden_2": 7, "batch_size": 16},
    "claster": {"epochs": 1, "hidden": 12, "channels": 0, "iterations": 3, "projection_steps": 20},
    "eszsl": {},
    "ridge": {},
}


@pytest.mark.parametrize("name", SMALL)
def test_given_logits_are_used_and_missed(problem, models_of, name):
    method, x = load_method(f"methods.{name}"), problem.test.features
    config = method.configure({**SMALL[name], "seen_classifier": "logits"})
    with pytest.raises(InputError, match="the data folder has no logits"):
        models_of(method, [Member(problem.task, config, 0)])
    task = replace(problem.task, logits=torch.randn(len(problem.task.labels), 8))
    (model,), logits = models_of(method, [Member(task, config, 0)]), torch.randn(len(x), 8)
    torch.testing.assert_close(model.given(logits).seen_scores(x), torch.log_softmax(logits, 1))
    for wrong in (logits[:1], logits[:-1], logits[:, :-1]):
        with pytest.raises(InputError, match=r"seen_classifier=logits: the logits have shape .*, expected \(\d+, 8\)"):
            model.given(wrong).seen_scores(x)
    logits[3] = torch.nan
    for missing in (model, model.given(logits)):
        with pytest.raises(InputError, match="these samples have no logits"):
            missing.seen_scores(x)
