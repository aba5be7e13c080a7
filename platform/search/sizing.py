"""How many configurations a pack should hold: measured where packs will train, on the data that they will train on."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import psutil
import ray
import torch
from torch import Tensor

from platform.method import Member, Method, Model, load_method
from platform.search.execution import Resources
from platform.training.devices import device_of
from platform.training.trainable import Experiment
from platform.zeroshot.task import Task

_MOST = 256  # members that are tried together
_GAIN = 1.1  # members a second, at least, that doubling a pack must bring
_BATCHES = 20  # of an epoch, that a try takes
_LEAST_SECONDS = 5.0  # that a pack should take, so that what is asked and told between packs does not count
_MEMORY_SHARE = 0.5  # of what is free, for all packs
_STATES = 3.0  # memory of a member in its states: beside them its gradients, its kept model and what a step works with


def pack_size(experiment: Experiment, folds: int, resources: Resources, lanes: int) -> int:
    """Configurations of a pack, for an experiment of one configuration. Ray must be connected."""
    measure = ray.remote(_measured).options(num_cpus=resources.cpus, num_gpus=resources.gpus)
    batches, seconds, size, room = ray.get(measure.remote(experiment.model_dump_json(), resources.cpus))
    config = load_method(experiment.method).configure(experiment.configs[0])
    lasting = _LEAST_SECONDS / (seconds * batches * config.epochs)
    members = min(max(size, lasting), room / lanes)
    fits = len(experiment.seeds) * max(1, len(experiment.splits)) * folds
    return max(1, math.ceil(members / fits))


def _measured(experiment_json: str, cpus: float) -> tuple[int, float, int, float]:
    """Batches of an epoch, seconds of a member's batch at the best size, that size, and how many have room."""
    torch.set_num_threads(max(1, int(cpus)))
    experiment = Experiment.model_validate_json(experiment_json)
    method, device = load_method(experiment.method), device_of(experiment.device)
    config = method.configure(experiment.configs[0])
    task = experiment.loaded(experiment.problem.split).final(config.normalise).task
    batch_size = getattr(config, "batch_size", len(task.labels))  # a method without batches takes all samples at once
    batches = math.ceil(len(task.labels) / batch_size)
    tried = min(batches, _BATCHES)
    short = _shortened(task, tried * batch_size)
    best, room, members = (math.inf, 1), math.inf, 1
    while members <= min(_MOST, room):
        seconds, state_bytes = _tried(method, [Member(short, config, seed) for seed in range(members)], device)
        room = _MEMORY_SHARE * _free(device) / (_STATES * state_bytes)
        a_batch = seconds / tried / members
        if a_batch * _GAIN > best[0]:
            break
        best, members = (a_batch, members), 2 * members
    return batches, best[0], best[1], room


def _tried(method: Method, members: Sequence[Member], device: torch.device) -> tuple[float, int]:
    """Seconds of an epoch of these members, their second, and the bytes of a member's state."""
    run = _TwoEpochs(device)
    method.fit_population(members, run)
    return run.ends[1] - run.ends[0], run.state_bytes


@dataclass
class _TwoEpochs:
    """A `platform.method.Run` that only looks at the clock."""

    device: torch.device
    rank: int = 0
    world_size: int = 1
    state_bytes: int = 0
    ends: list[float] = field(default_factory=list)

    def epoch_end(
        self,
        losses: Sequence[Mapping[str, float]],
        models: Callable[[Sequence[int]], Sequence[Model]],
        states: Callable[[Sequence[int]], Sequence[Mapping[str, Tensor]]],
    ) -> bool:
        self.ends.append(time.perf_counter())  # losses are numbers: a GPU has come to the end of its epoch
        (state,) = states([0])
        self.state_bytes = sum(t.nbytes for t in state.values())
        return len(self.ends) < 2

    def average(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        return gradients


def _shortened(task: Task, rows: int) -> Task:
    return replace(
        task,
        features=task.features[:rows],
        labels=task.labels[:rows],
        logits=None if task.logits is None else task.logits[:rows],
        groups=None if task.groups is None else task.groups[:rows],
    )


def _free(device: torch.device) -> float:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
