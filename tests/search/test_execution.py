import time
from collections import deque

import pytest
import torch
from verbs import PATIENCE, SMALL_FIELDS

from platform.datasets.text import ClassText
from platform.errors import Unavailable
from platform.method import MethodConfig
from platform.search.execution import Answer, Job, Resources, _RemoteScheduler, advised, execute
from platform.search.halving import Halving
from platform.search.sizing import pack_size
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import Experiment, train
from platform.zeroshot.problem import ProblemOptions

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_connected")]


class Jobs:
    """A source of a few jobs, which keeps what becomes of them."""

    def __init__(self, *jobs, halving=None, stop=(), joining=()):
        self.waiting, self.halving, self.stop, self.joining = deque(jobs), halving, stop, dict(joining)
        self.ended, self.overs, self.at_rungs = {}, [], []

    def next(self):
        return self.waiting.popleft() if self.waiting else None

    def exchange(self, job, ended, waiting):
        assert not self.ended.keys() & ended.keys()
        self.ended |= ended
        self.at_rungs.append({key: len(outcomes[0].epochs) for key, outcomes in waiting.items()})
        stopped = [key for key in waiting if key in self.stop]
        joining, self.joining = (self.joining, {}) if stopped or ended else ({}, self.joining)
        return Answer(stopped, joining)

    def over(self, job, outcomes, error):
        self.overs.append((job.key, outcomes, error))


@pytest.fixture
def make_job(small_dataset, tmp_path):
    def make(key, configs=({},), seeds=(0,), splits=(), epochs=2):
        experiment = Experiment(
            method="methods.sadvae",
            problem=ProblemOptions(dataset=small_dataset, split="two", text=ClassText(encoder="attributes")),
            protocol=ProtocolOptions(protocols=("clean",)),
            configs=tuple({**SMALL_FIELDS, "epochs": epochs, **fields} for fields in configs),
            keys=tuple(f"{key}-{i}" for i in range(len(configs))),
            seeds=seeds,
            splits=splits,
            test=False,
            device="cpu",
        )
        return Job(key, experiment, tmp_path / key)

    return make


@pytest.mark.parametrize(("first", "rungs"), [(0, [4, 13]), (30, [33])])
def test_rungs_stand_among_the_epochs_that_may_be_chosen(make_job, monkeypatch, first, rungs):
    monkeypatch.setattr(MethodConfig, "first_epoch", first, raising=False)
    scheduler = _RemoteScheduler(make_job("pack").experiment, Halving(), None)
    config = scheduler.method.configure({"epochs": 40})
    assert [epochs for epochs in range(1, 41) if scheduler.is_rung(config, epochs)] == rungs


@pytest.fixture
def one_thread():
    """As a worker has: sums are split, and so rounded, by the count of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def without_seconds(outcomes):
    return [outcome.model_copy(update={"seconds": 0.0}) for outcome in outcomes]


def alone(job, index, folder):
    experiment = job.experiment.model_copy(
        update={"configs": job.experiment.configs[index : index + 1], "keys": job.experiment.keys[index : index + 1]}
    )
    return without_seconds(train(experiment, folder))


@pytest.mark.usefixtures("one_thread")
def test_each_configuration_of_a_pack_comes_to_what_it_comes_to_alone(make_job, tmp_path):
    betas = ({"beta_x": 0.01}, {"beta_x": 0.1}, {"learning_rate": 1e30})
    job = make_job("pack", betas, seeds=(0, 1), splits=("two", "one"))
    source = Jobs(job)
    execute(source, Resources(), 2, tmp_path)
    assert source.overs == [("pack", [], "")]
    assert sorted(source.ended) == ["pack-0", "pack-1", "pack-2"]
    for index in (0, 1):
        found, expected = without_seconds(source.ended[f"pack-{index}"]), alone(job, index, tmp_path / str(index))
        assert [(o.split, o.seed) for o in found] == [("two", 0), ("two", 1), ("one", 0), ("one", 1)]
        for mine, own in zip(found, expected, strict=True):
            assert mine.epoch == own.epoch
            assert all(a == pytest.approx(b, abs=1e-6) for a, b in zip(mine.epochs, own.epochs, strict=True))
            assert mine.validation == pytest.approx(own.validation, abs=1e-6)
    assert {o.status for o in source.ended["pack-2"]} == {"failed"}
    assert not list(tmp_path.glob("tune-*"))


def test_some_stop_at_their_rung_and_others_come_in(make_job, tmp_path):
    joining = {"late": {**SMALL_FIELDS, "epochs": 4, "beta_x": 0.5}}
    source = Jobs(
        make_job("pack", ({}, {"beta_x": 0.1}), epochs=4),
        halving=Halving(reduction=2),
        stop=["pack-1"],
        joining=joining.items(),
    )
    execute(source, Resources(), 1, tmp_path)
    assert source.at_rungs == [{"pack-0": 2, "pack-1": 2}, {"late": 2}, {}]
    assert sorted(source.ended) == ["late", "pack-0"]
    assert all(len(outcomes[0].epochs) == 4 for outcomes in source.ended.values())


def test_an_experiment_that_cannot_run_is_over_with_its_reason(make_job, tmp_path):
    source = Jobs(make_job("bad", ({"seen_classifier": "logits"},)), make_job("good"))
    execute(source, Resources(), 2, tmp_path)
    overs = {key: (outcomes, error) for key, outcomes, error in source.overs}
    assert overs["good"] == ([], "")
    assert overs["bad"][0] is None
    assert overs["bad"][1].startswith("InputError: seen_classifier=logits")
    assert "Traceback" in (tmp_path / "bad" / "error.txt").read_text()


def test_data_that_are_away_end_the_execution_and_no_configuration_is_over(make_job, small_dataset, tmp_path):
    away = make_job("away")
    problem = away.experiment.problem.model_copy(update={"dataset": tmp_path / "gone"})
    experiment = away.experiment.model_copy(update={"problem": problem})
    source = Jobs(Job("away", experiment, away.folder), make_job("other", epochs=50))
    with pytest.raises(Unavailable, match=f"{tmp_path / 'gone'} is no data folder.*go on with --resume") as caught:
        execute(source, Resources(), 1, tmp_path)
    assert "\n" not in str(caught.value)
    assert (source.overs, source.ended) == ([], {})


def test_an_error_of_the_operating_system_is_no_configurations_fault(make_job, tmp_path):
    job = make_job("blocked")
    (tmp_path / "blocked").write_text("")  # where its folder should be
    source = Jobs(job)
    with pytest.raises(Unavailable, match="--resume"):
        execute(source, Resources(), 1, tmp_path)
    assert source.overs == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device; no trial is to blame"),
        (ConnectionResetError(), "ConnectionResetError; no trial is to blame"),
        (Unavailable("make room, and go on with --resume"), "make room, and go on with --resume"),
    ],
)
def test_what_is_away_is_named_with_how_to_go_on(error, said):
    assert advised(error).startswith(said)
    assert advised(error).count("--resume") == 1


def test_a_pack_is_not_measured_while_the_data_are_away(make_job, tmp_path):
    experiment = make_job("measured").experiment
    problem = experiment.problem.model_copy(update={"dataset": tmp_path / "gone"})
    with pytest.raises(Unavailable, match="is no data folder"):
        pack_size(experiment.model_copy(update={"problem": problem}), 1, Resources(), 1)


def free_cpus():
    import ray

    return ray.available_resources().get("CPU", 0.0)


@pytest.mark.parametrize("moment", ["next", "exchange", "over"])
def test_an_error_of_the_source_ends_the_execution_as_itself_and_no_trial_runs_on(make_job, tmp_path, moment):
    full = OSError(28, "No space left on device")
    source, others = Jobs(make_job("pack", epochs=50), make_job("other", epochs=50)), free_cpus()

    def broken(*arguments):
        if moment == "next" and len(source.waiting) > 1:
            return source.waiting.popleft()
        raise full

    setattr(source, moment, broken)
    with pytest.raises(OSError, match="No space left") as caught:
        execute(source, Resources(), 2, tmp_path)
    assert caught.value is full
    assert not list(tmp_path.glob("tune-*"))
    deadline = time.monotonic() + PATIENCE
    while free_cpus() < others:
        assert time.monotonic() < deadline
        time.sleep(0.1)
