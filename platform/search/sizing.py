"""How many configurations a pack should hold, measured on the workers and data that packs will use."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import psutil
import ray
import torch

from platform.method import Member, Method, epochs_of
from platform.search.execution import Resources
from platform.training.devices import device_of
from platform.training.trainable import Experiment
from platform.workers import Workers
from platform.zeroshot.task import Task

_MOST = 256  # largest number of members to try
_GAIN = 1.1  # least factor in members per second that doubling a pack must bring
_BATCHES = 20  # batches that are timed
_LEAST_SECONDS = 5.0  # that a pack should train, so that communication does not matter
_MEMORY_SHARE = 0.5  # of the free memory, for all packs
_STATES = 3.0  # a member's memory over that of its state: gradients, the kept model, a step's tensors


def pack_size(experiment: Experiment, folds: int, resources: Resources, concurrency: int) -> int:
    """Configurations of a pack, for an experiment of one configuration. Ray must be connected."""
    measure = ray.remote(_measured).options(num_cpus=resources.cpus, num_gpus=resources.gpus)
    batches, seconds, size, room = ray.get(measure.remote(experiment.model_dump_json(), resources.cpus))
    config = experiment.loaded_method.configure(experiment.configs[0])
    lasting = _LEAST_SECONDS / (seconds * batches * epochs_of(config))
    members = min(max(size, lasting), room / concurrency)
    fits = len(experiment.seeds) * max(1, len(experiment.splits)) * folds
    return max(1, math.ceil(members / fits))


def _measured(experiment_json: str, cpus: float) -> tuple[int, float, int, float]:
    """Batches of an epoch, seconds of a member's batch at the best size, that size, and how many members fit."""
    torch.set_num_threads(max(1, int(cpus)))
    experiment = Experiment.model_validate_json(experiment_json)
    method, device = experiment.loaded_method, device_of(experiment.device)
    config = method.configure(experiment.configs[0])
    task = experiment.loaded(experiment.problem.split).final(config.normalise).task
    batch_size = getattr(config, "batch_size", len(task.labels))  # a closed-form method takes all samples at once
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
    """Seconds of these members' second epoch, and the bytes of a member's state."""
    population = method.population(members, Workers(device))
    population.train_epoch()
    started = time.perf_counter()
    population.train_epoch()  # returns losses as numbers, so that a GPU has finished the epoch
    seconds = time.perf_counter() - started
    (state,) = population.states([0])
    return seconds, sum(tensor.nbytes for tensor in state.values())


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
