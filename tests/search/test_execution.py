import os
import signal
import threading
import time
from collections import deque

import pytest
import torch
from verbs import SMALL_FIELDS, descendants

from platform.datasets.text import ClassText
from platform.search.execution import Job, Resources, execute
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import Experiment, read_outcomes, train
from platform.zeroshot.problem import ProblemOptions

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_connected")]


class Jobs:
    """A source of a few jobs."""

    def __init__(self, *jobs):
        self.waiting, self.outcomes = deque(jobs), []

    def next(self):
        return self.waiting.popleft() if self.waiting else None

    def ended(self, job, outcomes):
        self.outcomes.append((job.key, outcomes))


@pytest.fixture
def make_job(small_dataset, tmp_path):
    def make(key, checkpoint_seconds=15.0, **fields):
        experiment = Experiment(
            method="methods.sadvae",
            problem=ProblemOptions(dataset=small_dataset, split="two", text=ClassText(encoder="attributes")),
            protocol=ProtocolOptions(protocols=("clean",)),
            configs=({**SMALL_FIELDS, "epochs": 2, **fields},),
            seeds=(0,),
            test=False,
            device="cpu",
            checkpoint_seconds=checkpoint_seconds,
        )
        return Job(key, experiment, tmp_path / key)

    return make


def without_seconds(outcomes):
    return [outcome.model_copy(update={"seconds": 0.0}) for outcome in outcomes]


def test_every_job_ends_once_and_a_bad_one_leaves_the_others_alone(make_job, tmp_path):
    good = [make_job(f"good-{i}", beta_x=beta) for i, beta in enumerate((0.01, 0.1))]
    source = Jobs(good[0], make_job("bad", seen_classifier="logits"), good[1])
    execute(source, Resources(), 2, tmp_path)
    outcomes = dict(source.outcomes)
    assert len(source.outcomes) == len(outcomes) == 3
    for job in good:
        assert without_seconds(outcomes[job.key]) == without_seconds(
            train(job.experiment, tmp_path / "plain" / job.key)
        )
    (failed,) = outcomes["bad"]
    assert failed.status == "failed"
    assert "logits" in failed.reason
    assert "Traceback" in (tmp_path / "bad" / "error.txt").read_text()
    assert not list(tmp_path.glob("tune-*"))


def test_a_trial_whose_worker_is_killed_goes_on_from_its_checkpoint(make_job, tmp_path):
    job = make_job("killed", checkpoint_seconds=0.0, epochs=100)
    checkpoint = job.folder / "validation.safetensors"
    killed = []

    def kill_the_worker_after_its_first_checkpoint():
        while not checkpoint.exists():
            time.sleep(0.01)
        (worker,) = [pid for pid, command in descendants(os.getpid()).items() if "ImplicitFunc.train" in command]
        os.kill(worker, signal.SIGKILL)
        killed.append(read_outcomes(job.folder))

    killer = threading.Thread(target=kill_the_worker_after_its_first_checkpoint)
    killer.start()
    source = Jobs(job)
    execute(source, Resources(), 1, tmp_path)
    killer.join()
    assert killed == [None]  # none had come out
    ((_, outcomes),) = source.outcomes
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the worker had: sums are split, and so rounded, by the count of threads
    try:
        undisturbed = train(job.experiment, tmp_path / "undisturbed")
    finally:
        torch.set_num_threads(threads)
    assert without_seconds(outcomes) == without_seconds(undisturbed)
