"""The example of CONTRIBUTING.md as it stands on the page, and what a method of one module is given."""

import re
import sys
from pathlib import Path

import pytest
import torch

from platform.learning.conformance import CHECKS, examine
from platform.learning.made_up import made_up
from platform.method import Member, load_method
from platform.workers import Workers

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
ALONE = Workers(torch.device("cpu"))


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The module's text."""
    (text,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / "example_of_the_page.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield text
    sys.modules.pop("example_of_the_page", None)


def test_the_pages_example_is_whole_short_and_learns(example):
    assert len(example.splitlines()) < 40
    method, task = load_method("example_of_the_page"), made_up(0, 3, 20)
    population = method.population([Member(task, method.configure({"epochs": 30}), 0)], ALONE)
    losses = [population.train_epoch()[0]["loss"] for _ in range(30)]
    assert losses[-1] < losses[0] / 3
    (model,) = population.models([0])
    assert (model.seen_scores(task.features).argmax(1) == task.labels).double().mean() > 0.9


@pytest.mark.slow
def test_the_pages_example_keeps_every_promise(example):
    broken = {f.check: f.said for f in examine("example_of_the_page", {}) if f.status != "kept"}
    assert list(broken.values()) == ["it has no gradients written by hand"]
    assert len(CHECKS) > 10


def test_one_step_is_the_optimisers_on_the_stated_loss(example):
    method, task = load_method("example_of_the_page"), made_up(0, 3, 5)
    config = method.configure({"batch_size": len(task.labels), "learning_rate": 1e-2})
    learner = method.learner(Member(task, config, 0), ALONE)
    module = method.module(config, task.features.shape[1], task.semantics.shape[1])
    module.load_state_dict({name: tensor.clone() for name, tensor in learner.module.state_dict().items()})
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    seen = task.semantics[: len(task.seen)]
    loss = torch.nn.functional.cross_entropy(module(task.features) @ seen.T, task.labels)
    loss.backward()
    optimiser.step()
    assert learner.train_epoch()["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for name, tensor in learner.module.state_dict().items():
        torch.testing.assert_close(tensor, module.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_both_sides_are_one_softmax_where_they_are_stacked(example):
    method, task = load_method("example_of_the_page"), made_up(0, 3, 5)
    for combination, together in (("stacking", True), ("soft", False)):
        member = Member(task, method.configure({"combination": combination}), 0)
        seen, unseen = method.learner(member, ALONE).model().sides(task.features)
        assert torch.allclose(torch.cat([seen, unseen], 1).exp().sum(1), torch.tensor(1.0)) == together
        assert torch.allclose(seen.exp().sum(1), torch.tensor(1.0)) != together


def test_the_rate_of_an_epoch_multiplies_the_learning_rate(example):
    method, task = load_method("example_of_the_page"), made_up(0, 3, 5)
    type(method).rate = lambda self, epoch, config: 0.5**epoch
    learner = method.learner(Member(task, method.configure({"learning_rate": 0.8}), 0), ALONE)
    rates = []
    for _ in range(3):
        learner.train_epoch()
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.8, 0.4, 0.2])
