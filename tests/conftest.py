"""A problem small enough for every test, and learnable: class prototypes are a linear map of the class semantics."""

import pytest
import torch

from platform.population.draws import generator
from platform.zeroshot.problem import Problem
from platform.zeroshot.task import Samples, Task

SEEN, UNSEEN, FEATURES, TEXT = 8, 3, 24, 16
_RANK = 4  # of the semantics, fewer than the seen classes: an unseen class is a mixture of what training shows


@pytest.fixture(scope="session")
def make_problem():
    """A function of the training samples a class and a seed, to a problem of 8 seen and 3 unseen classes."""

    def make(samples=30, seed=0):
        draw = generator(seed, "tiny problem")
        factors = torch.randn(SEEN + UNSEEN, _RANK, generator=draw)
        semantics = torch.nn.functional.normalize(factors @ torch.randn(_RANK, TEXT, generator=draw), dim=1)
        prototypes = 2 * semantics @ torch.randn(TEXT, FEATURES, generator=draw)

        def sampled(classes, count):
            labels = torch.arange(classes).repeat_interleave(count)
            return prototypes[labels] + 0.3 * torch.randn(len(labels), FEATURES, generator=draw), labels

        features, labels = sampled(SEEN, samples)
        seen, unseen = (tuple(f"{kind} {i}" for i in range(n)) for kind, n in (("seen", SEEN), ("unseen", UNSEEN)))
        task = Task(seen, unseen, features, labels, semantics)
        return Problem(task, Samples(*sampled(SEEN + UNSEEN, 20)), "none", (), None)

    return make


@pytest.fixture
def problem(make_problem):
    return make_problem()
