"""Ray Tune runs the jobs of a source, on one machine or a cluster.

At its rungs a pack asks the driver which of its configurations go on. It reports to Tune, whose searcher (`_HandedOut`)
runs in the driver; the answer comes back through a message queue, since Tune only sends results towards the driver.
"""

import asyncio
import json
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import ray
from pydantic import TypeAdapter
from ray import tune
from ray.exceptions import RayActorError
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from platform.capabilities import first_epoch_of
from platform.errors import Unavailable
from platform.method import ScoringConfig, epochs_of
from platform.search.halving import Halving
from platform.training.protocols import Validations
from platform.training.trainable import Experiment, Outcome, outcomes_of, train

_OUTCOMES = TypeAdapter(list[Outcome])
_BY_KEY = TypeAdapter(dict[str, list[Outcome]])
_TUNES_FILES = "tune-"
Given = TypeVar("Given")


@dataclass(frozen=True)
class Job:
    """An experiment to run. key: its name in Tune and in messages."""

    key: str
    experiment: Experiment
    folder: Path


@dataclass(frozen=True)
class Answer:
    """Keys of configurations that stop at their rung, and the fields of those that join, by key."""

    stopped: Sequence[str]
    joining: Mapping[str, Mapping[str, Any]]


class Source(Protocol):
    """Provides jobs and receives their results, in the driver's process."""

    halving: Halving | None

    def next(self) -> Job | None:
        """The next job, or None where there is none at present."""

    def exchange(self, job: Job, ended: Mapping[str, list[Outcome]], waiting: Mapping[str, list[Outcome]]) -> Answer:
        """Receives the outcomes of a pack's configurations that have ended and of those that wait at a rung."""

    def over(self, job: Job, outcomes: Sequence[Outcome] | None, error: str) -> None:
        """A job is over; outcomes: None where it raised `error` or, where that is empty, its worker was lost."""


@dataclass(frozen=True)
class Resources:
    """What one trial gets, and how many run at a time (as many as fit, where None)."""

    cpus: float = 1.0
    gpus: float = 0.0
    concurrent: int | None = None

    def fitting(self, cpus: float, gpus: float) -> int:
        """How many trials run at a time on machines with that many CPUs and GPUs."""
        fit = int(cpus // self.cpus) if self.cpus else int(gpus // self.gpus)
        fit = min(fit, int(gpus // self.gpus)) if self.gpus else fit
        return max(1, min(fit, self.concurrent or fit))


def execute(source: Source, resources: Resources, concurrent: int, storage: Path) -> None:
    """Run all jobs of a source. Ray must be connected.

    storage: a folder for Tune's own files, which are removed at the end. An error of the source itself is raised here.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    message_queue = _MessageQueue.options(scheduling_strategy=here).remote()
    searcher = _HandedOut(source, message_queue)
    tuner = tune.Tuner(
        tune.with_resources(_trial, {"CPU": resources.cpus, "GPU": resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            max_concurrent_trials=concurrent,
            reuse_actors=True,  # starting a process and importing PyTorch costs more than a short trial
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=f"{_TUNES_FILES}{time.time_ns()}",
            storage_path=str(storage.resolve()),
            callbacks=[_EndsWith(searcher)],
            verbose=0,
        ),
    )
    _remove_tunes_files(storage)  # of a driver that was killed
    try:
        tuner.fit()
    except Exception:
        if searcher.broke is None:
            raise
    finally:
        ray.kill(message_queue)  # Tune keeps its searcher, and so this process, for as long as the driver lives
        _remove_tunes_files(storage)
    if searcher.broke is not None:
        raise searcher.broke


def _remove_tunes_files(storage: Path) -> None:
    for folder in storage.glob(f"{_TUNES_FILES}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _name(trial: "tune.experiment.Trial") -> str:
    return f"{trial.config['key']}-{trial.trial_id}"


@ray.remote(num_cpus=0, max_restarts=-1)
class _MessageQueue:
    """Holds answers until the waiting workers take them. One that Ray restarts is empty."""

    def __init__(self) -> None:
        self.messages: dict[str, asyncio.Queue] = {}

    @ray.method(max_task_retries=-1)
    async def put(self, name: str, message: str) -> None:
        await self.messages.setdefault(name, asyncio.Queue()).put(message)

    async def take(self, name: str) -> str:
        message = await self.messages.setdefault(name, asyncio.Queue()).get()
        del self.messages[name]
        return message


class _HandedOut(Searcher):
    """Tune's searcher over a source. broke: the source's error, after which it is not called again."""

    def __init__(self, source: Source, message_queue: "ray.actor.ActorHandle") -> None:
        super().__init__()
        self.source, self.message_queue = source, message_queue
        self.jobs: dict[str, Job] = {}
        self.broke: Exception | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        job = self._asked(self.source.next)
        if job is None:  # a running job may still return configurations to be tried again
            return None if self.jobs else Searcher.FINISHED
        self.jobs[trial_id] = job
        return {
            "key": job.key,
            "experiment": job.experiment.model_dump_json(),
            "folder": str(job.folder.resolve()),
            "halving": self.source.halving and self.source.halving.model_dump(),
            "message_queue": self.message_queue,
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if "request" not in result:
            return
        ended, waiting = (_BY_KEY.validate_json(result[kind]) for kind in ("ended", "waiting"))
        answer = self._asked(self.source.exchange, self.jobs[trial_id], ended, waiting)
        if answer is None:
            return
        text = json.dumps({"stopped": list(answer.stopped), "joining": dict(answer.joining)})
        self.message_queue.put.remote(result["request"], text)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        result, job = result or {}, self.jobs.pop(trial_id)
        if "unavailable" in result:
            self.broke = self.broke or Unavailable(result["unavailable"])
        outcomes = _OUTCOMES.validate_json(result["outcomes"]) if "outcomes" in result and not error else None
        self._asked(self.source.over, job, outcomes, result.get("error", ""))

    def _asked(self, call: Callable[..., Given], *arguments: Any) -> Given | None:
        """Call the source; an error is kept, since Tune would take it for a trial's."""
        try:
            return call(*arguments) if self.broke is None else None
        except Exception as error:
            self.broke = error
            return None

    def __deepcopy__(self, memo: dict[int, Any]) -> "_HandedOut":
        return self  # Tune copies its searcher before it starts; the source is this process's and cannot be copied

    def __getstate__(self) -> dict[str, Any]:  # for Tune's own records, which are never read
        return {**self.__dict__, "source": None, "message_queue": None, "jobs": {}, "broke": None}

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: a resume reads the source's study and folder."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing; see `save`."""


class _EndsWith(tune.Callback):
    """Ends Tune's loop after an error of the source, at a point where Tune still cleans up."""

    def __init__(self, searcher: _HandedOut) -> None:
        self.searcher = searcher

    def on_step_end(self, iteration: int, trials: "list[tune.experiment.Trial]", **info: Any) -> None:
        if self.searcher.broke is not None:
            raise self.searcher.broke


class _RemoteScheduler:
    """The scheduler of a pack, in its worker: reports to Tune and waits for the driver's answer."""

    def __init__(self, experiment: Experiment, halving: Halving | None, message_queue: "ray.actor.ActorHandle") -> None:
        self.experiment, self.halving, self.message_queue = experiment, halving, message_queue
        self.method = experiment.loaded_method
        self.configs = experiment.named()
        self.started = dict.fromkeys(self.configs, time.monotonic())
        self.sent = 0

    def is_rung(self, config: ScoringConfig, epochs: int) -> bool:
        first = first_epoch_of(config)  # earlier epochs do not depend on what is searched
        return self.halving is not None and epochs - first in self.halving.rungs(epochs_of(config) - first)

    def exchange(
        self, ended: Mapping[str, Validations], waiting: Mapping[str, Validations]
    ) -> tuple[Sequence[str], Mapping[str, ScoringConfig]]:
        request = f"{tune.get_context().get_trial_id()}/{self.sent}"
        self.sent += 1
        tune.report({"request": request, "ended": self._written(ended), "waiting": self._written(waiting)})
        answer = json.loads(ray.get(self.message_queue.take.remote(request)))
        self.configs |= answer["joining"]
        self.started |= dict.fromkeys(answer["joining"], time.monotonic())
        joining = {key: self.method.configure(values) for key, values in answer["joining"].items()}
        return answer["stopped"], joining

    def _written(self, validations: Mapping[str, Validations]) -> str:
        return _BY_KEY.dump_json({key: self._outcomes(key, found) for key, found in validations.items()}).decode()

    def _outcomes(self, key: str, validations: Validations) -> list[Outcome]:
        splits = self.experiment.splits or (self.experiment.problem.split,)
        config = self.method.configure(self.configs[key]).model_dump()
        outcomes = outcomes_of(key, config, self.experiment.seeds, splits, validations)
        seconds = time.monotonic() - self.started[key]
        return [o.model_copy(update={"seconds": seconds}) for o in outcomes]


def _trial(config: Mapping[str, Any]) -> None:
    """A Tune trial, in a worker's process: one experiment."""
    import torch

    torch.set_num_threads(max(1, int(tune.get_context().get_trial_resources().required_resources.get("CPU", 1))))
    experiment, folder = Experiment.model_validate_json(config["experiment"]), Path(config["folder"])
    halving = Halving(**config["halving"]) if config["halving"] else None
    try:
        scheduler = None if experiment.test else _RemoteScheduler(experiment, halving, config["message_queue"])
        outcomes = train(experiment, folder, scheduler=scheduler)
    except RayActorError:  # the message queue was lost: treated as a lost worker
        tune.report({"unanswered": True})
    except (Unavailable, OSError) as error:  # no configuration's fault: a later driver runs them again
        tune.report({"unavailable": advised(error)})
    except Exception as error:  # perhaps a configuration's fault: the source decides
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "error.txt").write_text(traceback.format_exc())
        tune.report({"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]})
    else:
        tune.report({"outcomes": _OUTCOMES.dump_json(outcomes).decode()})


def advised(error: Exception) -> str:
    """One line: what is unavailable, and how to resume."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if "--resume" in said else f"{said}; no trial is to blame: mend it, and go on with --resume"
