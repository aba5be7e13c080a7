"""The last stage of a search: its best configurations are tested."""

import pytest
from verbs import SMALL_FIELDS

from platform.search.execution import Job
from platform.search.search import _means, _Tests
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import Experiment, Outcome, read_outcomes, write_outcomes
from platform.zeroshot.problem import ProblemOptions

DONE = [Outcome(key="best", config=SMALL_FIELDS, seed=0, split="two", status="finished", test={"clean": {"zsl": 0.5}})]


class Heard:
    """A watch that keeps what it hears."""

    def __init__(self):
        self.keys, self.texts = [], []

    def tested(self, key):
        self.keys.append(key)

    def said(self, text):
        self.texts.append(text)


@pytest.fixture
def jobs(tmp_path):
    experiment = Experiment(
        method="methods.sadvae",
        problem=ProblemOptions(dataset=tmp_path, split="two"),
        protocol=ProtocolOptions(),
        configs=(SMALL_FIELDS,),
        seeds=(0,),
        test=True,
    )
    return [Job(f"best-{place}", experiment, tmp_path / "best" / str(place)) for place in range(2)]


def test_each_is_tested_once(jobs):
    heard = Heard()
    source = _Tests(jobs, heard)
    out = [source.next(), source.next()]
    assert (out, source.next()) == (jobs, None)
    write_outcomes(jobs[0].folder, DONE)  # as its worker does
    for job in jobs:
        source.over(job, DONE, "")
    assert heard.keys == ["best-0", "best-1"]
    assert [read_outcomes(job.folder) for job in jobs] == [DONE, DONE]  # the other's worker had its own disk


def test_a_lost_worker_is_said_and_its_test_goes_out_again(jobs):
    heard = Heard()
    source = _Tests(jobs[:1], heard)
    for _ in range(2):
        source.over(source.next(), None, "")
    assert heard.texts == ["the worker of best-0 was lost; it goes on from its checkpoint"] * 2
    with pytest.raises(RuntimeError, match="the test of the best failed: its worker was lost"):
        source.over(source.next(), None, "")


def test_an_error_is_not_tried_again(jobs):
    source = _Tests(jobs, Heard())
    with pytest.raises(RuntimeError, match="the test of the best failed: ValueError: no"):
        source.over(source.next(), None, "ValueError: no")


def test_mlflow_is_given_means_under_what_was_tested():
    tests = {"single": {"clean": {"zsl": [0.25, 0.75]}}, "ensemble of 2 seeds": {"clean": {"zsl": [0.625]}}}
    assert _means(tests) == {"clean/zsl": 0.5, "clean/ensemble of 2 seeds/zsl": 0.625}
