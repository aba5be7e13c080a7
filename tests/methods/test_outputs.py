import warnings
from dataclasses import replace

import pytest
import torch
from training_loop import fitted_until

from methods import outputs, revise, sadvae, synse
from platform.errors import InputWarning
from platform.method import Member

SMALL = {
    "sadvae": {"batch_size": 16, "z_r": 4, "z_v": 2},
    "synse": {"batch_size": 16, "cycle": 4, "alpha_start": 1, "z_s": 4},
    "revise": {"batch_size": 16, "code": 4, "shared": 3, "hidden": 5},
}
METHODS = {"sadvae": sadvae.method, "synse": synse.method, "revise": revise.method}


class OneEpoch:
    device, rank, world_size = torch.device("cpu"), 0, 1

    def epoch_end(self, losses, models, states):
        return False

    def average(self, gradients):
        return gradients


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch):
    monkeypatch.setattr(outputs, "_said", set())


@pytest.mark.parametrize("name", METHODS)
def test_negative_features_under_relu_outputs_are_warned_of_once(problem, name):
    method, task = METHODS[name], problem.task
    member = Member(task, method.configure({**SMALL[name], "output_relu": True}), 0)
    least = f"{task.features.min().item():.3g}"
    with pytest.warns(InputWarning, match=rf"{name}, output_relu=true: .* down to {least}, .*--set output_relu=false"):
        fitted_until(method, [member, member], OneEpoch())
    plain = Member(task, method.configure(SMALL[name]), 0)
    positive = replace(member, task=replace(task, features=task.features.abs()))
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        fitted_until(method, [member], OneEpoch())  # said before
        outputs._said.clear()
        fitted_until(method, [plain], OneEpoch())
        fitted_until(method, [positive], OneEpoch())
