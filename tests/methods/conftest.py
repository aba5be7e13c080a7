"""What the tests of one method need besides: members in training, and tasks for a population of them."""

from dataclasses import replace

import pytest
import torch

from platform.method import epochs_of
from platform.training.fitting import Fitting, TrainingGroup, chosen_epoch
from platform.workers import Workers


@pytest.fixture(scope="session")
def fit():
    """A function of a method and members to a group that has ended; its `last` models are those after the last epoch.

    epochs: by default those of the first member's Config.
    """

    def fit(method, members, epochs=None, evaluate=None, selections=None, **options):
        last = (epochs or epochs_of(members[0].config)) - 1
        selections = {"last": chosen_epoch([last] * len(members))} if selections is None else selections
        group = TrainingGroup("all", members, last, evaluate, selections)
        Fitting(method, [group], Workers(torch.device("cpu")), **options).fit()
        return group

    return fit


@pytest.fixture(scope="session")
def models_of(fit):
    """A function of a method and members to their models after the last epoch."""
    return lambda *given, **options: list(fit(*given, **options).kept["last"].values())


@pytest.fixture
def five_tasks(make_problem):
    """Of five members; three tasks, with other counts of samples and unseen classes."""
    long, short, other = (make_problem(count, seed).task for seed, count in enumerate((30, 17, 24)))
    short = replace(short, unseen=short.unseen[:2], semantics=short.semantics[:-1])
    return [long, short, long, short, other]
