"""CLASTER on UTD-MHAD's Shift-GCN features: better than chance on classes that it never saw, with clusters of them."""

import os
from pathlib import Path

import pytest
import torch
from training_loop import fitted_until

from methods import claster
from platform.datasets.folder import write_dataset
from platform.datasets.readers import ImportOptions, read
from platform.method import Member
from platform.training.evaluation import all_metrics, cluster_metrics, seen_alone
from platform.zeroshot.gate import Stacking
from platform.zeroshot.problem import ProblemOptions, load_problem

DATA = Path(os.environ.get("UNSEEN_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve() / "utd_mhad"
CONFIG = {"hidden": 128, "channels": 0, "learning_rate": 2e-3, "iterations": 50, "inference": "expected"}

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (DATA / "utd_shiftgcn.npz").exists(), reason=f"no UTD-MHAD in UNSEEN_DATA ({DATA})"),
]


class FourEpochs:
    device, rank, world_size = torch.device("cpu"), 0, 1
    epochs = 0

    def epoch_end(self, losses, models, states):
        self.epochs, self.losses, self.models = self.epochs + 1, losses, models
        return self.epochs < 4

    def average(self, gradients):
        return gradients


def test_it_recognises_actions_that_it_never_saw(tmp_path):
    dataset = write_dataset(read("utd_mhad", DATA / "utd_shiftgcn.npz", ImportOptions()), tmp_path / "utd")
    problem = load_problem(ProblemOptions(dataset=dataset.folder, split="half:0")).final()
    run = FourEpochs()
    fitted_until(claster.method, [Member(problem.task, claster.CLASTERConfig(**CONFIG), 0)], run)
    (model,) = run.models([0])
    metrics = all_metrics(model.joined_by(Stacking(0.0)), problem.samples)
    assert metrics["zsl"] > 2 / len(model.unseen)
    assert seen_alone(model, problem.samples)["seen_alone"] > 0.7
    purities = cluster_metrics(model, problem.task.samples(), torch.device("cpu"))
    assert purities["class_purity_after"] > 0.7 > purities["purity_after"]  # six clusters of fourteen classes
