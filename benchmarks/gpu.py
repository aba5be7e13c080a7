"""Whether a GPU trains right, how fast, and how exactly: `python -m benchmarks.gpu`, from the root, in eight minutes.

For a machine with a GPU that is at hand for a short time, and has PyTorch but not this project's environment. Beside
torch and what torch requires, these must be importable, and nothing else is imported: numpy, pydantic, pydantic_core,
annotated_types, typing_inspection and yaml. Where such a machine lacks some, their wheels are a few MiB:

    pip download --only-binary=:all: --dest wheels pydantic pyyaml    # elsewhere, for that machine's Python
    pip install --no-index --no-deps --target /tmp/site wheels/*.whl  # there
    PYTHONPATH=/tmp/site python -m benchmarks.gpu --out FOLDER --commit HASH

Four parts, each with a table and a baseline of its own: packs of SA-DVAE against the CPU and against a member alone;
their speed against the textbook loop of benchmarks.population; TF32 and bfloat16 against float32; the extractors' clips
a second against one clip at a time. The tables are written after each part to --out (default: the environment variable
OUT), or, without either, once to benchmarks/results. What no longer fits into --minutes is named as left out. The exit
code is 1 where a part broke off, two results that should agree do not, or a precision loses more than seeds differ by.
"""

import argparse
import gc
import os
import shlex
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import platform
from benchmarks.population import CONFIG, FEATURES, SEEN, TEXTBOOK, Textbook, task_of, traffic_rate
from benchmarks.record import commit_of, keep_text, markdown_table
from methods.sadvae import method
from platform.features.extractors import EXTRACTORS, Extractor
from platform.features.joints import JOINTS
from platform.features.network import SkeletonNetwork
from platform.learning import training_data
from platform.method import Member
from platform.population import noise
from platform.population.adam import PopulationAdam
from platform.population.draws import generator
from platform.training.devices import device_of
from platform.workers import Workers
from platform.zeroshot.task import Task

NEEDED = ("annotated_types", "numpy", "pydantic", "pydantic_core", "typing_inspection", "yaml")  # beside torch
TARGET = 300  # times the textbook loop, of the largest pack
LAYOUT = "kinect_v2"
PRECISIONS = ("float32", "TF32", "bfloat16")
CLASSES = 60
# How far results may be apart, relative to a loss or to a layer's movement: what rounds in another order, and what
# takes the same operations on the same device.
ADAM_APART, LOSSES_APART, MOVED_APART, SAME = 1e-3, 1e-3, 1e-2, 1e-4
_RESERVE = 15  # seconds that are kept for the end

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    alike: members of one width in the first part; steps: of an epoch of SA-DVAE in the others; shapes: an extractor's
    preset to frames, bodies and clips.
    """

    checked_epochs: int = 3
    checked_steps: int = 30
    alike: int = 8
    packs: Sequence[int] = (1, 8, 64, 512)
    steps: int = 280
    repeats: int = 5
    seeds: int = 16
    extractor_seeds: int = 5
    clips: int = 256
    frames: int = 64
    batch: int = 16
    shapes: Mapping[str, tuple[int, int, int]] = field(
        default_factory=lambda: {"small": (64, 1, 64), "paper": (300, 2, 64)}
    )


SMALL = Sizes(
    checked_epochs=2, checked_steps=3, alike=3, packs=(1, 4), steps=4, repeats=1, seeds=3, extractor_seeds=2, clips=4,
    frames=8, batch=4, shapes={"small": (4, 1, 2), "paper": (8, 2, 2)},
)  # fmt: skip


@dataclass
class Clock:
    """The time that is left.

    What is measured grows from piece to piece, so a piece is expected to take as long as the one before it, times what
    it is larger by.
    """

    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        return self.seconds - _RESERVE - (time.monotonic() - self.started)


@dataclass
class Run:
    device: torch.device
    sizes: Sizes
    clock: Clock

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """Of one call, until the device has done it."""
        self.wait()
        started = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - started


@dataclass
class Part:
    """A part's table as far as it came, what went wrong, and what there was no time for."""

    title: str
    heading: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def fits(self, run: Run, piece: str, expected: float) -> bool:
        """Whether so many seconds are left; if not, the piece is named as left out."""
        if expected <= run.clock.left:
            return True
        self.left_out.append(piece)
        return False

    @property
    def text(self) -> str:
        found = [f"Failed: {what}." for what in self.failures]
        found += [f"Left out, for want of time: {', '.join(self.left_out)}."] if self.left_out else []
        texts = [f"## {self.title}", "\n".join(self.notes), markdown_table(self.heading, self.rows), "\n\n".join(found)]
        return "\n\n".join(filter(None, texts))


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Products of float32 numbers as they are, or in TF32. A step that is captured as a graph keeps what it began with.

    `device_of` allows TF32 on a GPU, and PyTorch's convolutions do by default.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


# 1. Right: against the CPU, and against a member alone


@dataclass(frozen=True)
class Trained:
    """Members after some epochs. losses: epoch by epoch, each member's; start: as it was before the first step."""

    losses: Sequence[Sequence[Mapping[str, float]]]
    start: Sequence[State]
    states: Sequence[State]
    graphs: int  # how many kinds of steps were captured

    def of(self, place: int) -> "Trained":
        return replace(
            self,
            losses=[[one[place]] for one in self.losses],
            start=[self.start[place]],
            states=[self.states[place]],
        )

    def without(self, place: int) -> "Trained":
        kept = [i for i in range(len(self.states)) if i != place]
        return replace(
            self,
            losses=[[one[i] for i in kept] for one in self.losses],
            start=[self.start[i] for i in kept],
            states=[self.states[i] for i in kept],
        )


@contextmanager
def draws_of_the_cpu() -> Iterator[None]:
    """A GPU draws other numbers from a seed than a CPU does: both get the CPU's."""

    def on_the_cpu(*names: object, device: object = None) -> torch.Generator:
        return generator(*names)

    with patch.object(noise, "generator", on_the_cpu), patch.object(training_data, "generator", on_the_cpu):
        yield


def trained(
    members: Sequence[Member], device: torch.device, epochs: int, together: bool = True, graphs: bool = True
) -> Trained:
    """together: with the one set of operations by which a GPU updates all members, on a CPU too."""
    gc.collect()  # the graphs of populations that are done, so that none is destroyed within a capture
    population = method.population(members, Workers(device))
    step = population.step
    population.step = lambda kind, *inputs: step(kind, *(one.to(device) for one in inputs))
    step.captures = step.captures and graphs
    for optimiser in population.optimisers:
        optimiser.on_cpu = optimiser.on_cpu and not together
    places = range(len(members))
    start = population.states(places)
    losses = [population.train_epoch() for _ in range(epochs)]
    return Trained(losses, start, population.states(places), len(step.graphs) if step.captures else 0)


def moved_apart(found: Trained, reference: Trained) -> float:
    """The largest, over members and layers, of the norm of the difference by that of the reference's movement."""
    ratios = [0.0]
    for start, own, other in zip(reference.start, found.states, reference.states, strict=True):
        layers = [name for name in start if name.startswith("parameter.") and not name.endswith("_bias")]
        for layer in layers:
            first, one, two = (
                torch.cat([part[name].flatten().double().cpu() for name in (layer, f"{layer}_bias")])
                for part in (start, own, other)
            )
            ratios.append(ratio((one - two).norm().item(), (two - first).norm().item()))
    return max(ratios)


def losses_apart(found: Trained, reference: Trained) -> float:
    """The largest relative difference of a loss, over members, epochs and kinds of losses."""
    ratios = [0.0]
    for one, two in zip(found.losses, reference.losses, strict=True):
        for own, other in zip(one, two, strict=True):
            ratios += [ratio(abs(own[name] - other[name]), abs(other[name])) for name in other]
    return max(ratios)


def ratio(part: float, whole: float) -> float:
    """Infinite where a number is none, or differs from zero or infinity."""
    if part == 0:
        return 0.0
    found = part / whole if whole else torch.inf
    return found if found == found else torch.inf


def unlike_members(steps: int, preset: str | None = None) -> list[Member]:
    """Members of other widths, rates, adversaries and, a half of them, of a shorter epoch, in which they idle."""
    batch = CONFIG.batch_size
    tasks = [task_of(steps * batch, seed=0), task_of(max(1, steps // 2) * batch + 1, seed=1)]
    values = [
        {"learning_rate": 3.39e-5},
        {"learning_rate": 1e-3, "z_r": 96, "n_d": 2},
        {"learning_rate": 1e-4, "z_v": 24, "noise": "sample"},
        {"learning_rate": 3e-4, "z_r": 224, "annealing": "released"},
        {"learning_rate": 1e-4, "alignment": "naive"},
        {"learning_rate": 2e-4, "alignment": "fd", "lambda_1": 0.5, "n_d": 7},
    ]
    same = {"batch_size": batch, "epochs": 9, "seen_classifier": "features"}
    configs = [method.configure({**same, **one}, preset) for one in values]
    return [Member(tasks[i % 2], config, seed=i) for i, config in enumerate(configs)]


def alike_members(count: int, samples: int) -> list[Member]:
    task = task_of(samples)
    return [Member(task, CONFIG, seed) for seed in range(count)]


def adam_apart(device: torch.device, steps: int, amsgrad: bool) -> float:
    """The GPU's update with a vector of rates against torch's fused Adam member by member, relative to the movement."""
    shapes, rates = {"weight": (5, 64, 48), "bias": (5, 1, 48)}, [1e-5, 1e-4, 1e-3, 1e-2, 0.1]
    draw = torch.Generator().manual_seed(0)
    # weights as small as a layer's: rounding is small beside the lowest rate
    start = {name: 0.01 * torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    ours = PopulationAdam({n: t.to(device, copy=True) for n, t in start.items()}, rates, amsgrad=amsgrad)
    theirs = PopulationAdam({n: t.clone() for n, t in start.items()}, rates, amsgrad=amsgrad)
    ours.on_cpu = False
    for step in range(steps):
        gradients = [torch.randn(shape, generator=draw) for shape in shapes.values()]
        active = torch.tensor([(step + member) % 4 > 0 for member in range(len(rates))])
        theirs.step(gradients, active)
        ours.step([gradient.to(device) for gradient in gradients], active.to(device))
    return max(
        ratio((ours.parameters[n][m].cpu() - p[m]).norm().item(), (p[m] - start[n][m]).norm().item())
        for n, p in theirs.parameters.items()
        for m in range(len(rates))
    )


def correctness(run: Run, part: Part) -> None:
    with products("float32"):
        for name, baseline, (most, furthest), check in _checks(run):
            if not part.fits(run, f"{name} against {baseline}", 20):
                continue
            steps, losses, moved, wrong = check()
            if losses is not None and losses > most:
                wrong.append(f"losses {losses:.1e} apart, over {most:.0e}")
            if moved > furthest:
                wrong.append(f"parameters {moved:.1e} apart, over {furthest:.0e}")
            part.failures += [f"{name} against {baseline}, {one}" for one in wrong]
            shown = "" if losses is None else f"{losses:.1e} ({most:.0e})"
            part.rows.append([name, baseline, steps, shown, f"{moved:.1e} ({furthest:.0e})", "no" if wrong else "yes"])


# steps of the longest member, the losses' difference, the parameters', and what else is wrong
Found = tuple[int, float | None, float, list[str]]


def _checks(run: Run) -> list[tuple[str, str, tuple[float, float], Callable[[], Found]]]:
    """What is compared, with what, and how far losses and parameters may be apart."""
    of_the_cpu, alone = "the CPU, member by member", "the member alone"
    adam, rounded, same = (0.0, ADAM_APART), (LOSSES_APART, MOVED_APART), (SAME, SAME)
    return [
        ("Adam with a rate a member", of_the_cpu, adam, partial(_adam, run, False)),
        ("Adam with the largest second moment", of_the_cpu, adam, partial(_adam, run, True)),
        ("unlike members", of_the_cpu, rounded, partial(_against_the_cpu, run, None)),
        ("unlike members, preset released", of_the_cpu, rounded, partial(_against_the_cpu, run, "released")),
        ("steps as CUDA graphs", "the same steps one by one", same, partial(_graphs, run)),
        (f"{run.sizes.alike} members of one width", alone, rounded, partial(_alone, run, True)),
        ("unlike members", alone, rounded, partial(_alone, run, False)),
        ("members beside one that diverges", "the pack without it", rounded, partial(_beside_a_diverging_one, run)),
        ("gone on from a state", "a training without a stop", same, partial(_gone_on, run)),
    ]


def _adam(run: Run, amsgrad: bool) -> Found:
    steps = run.sizes.checked_epochs * run.sizes.checked_steps
    return steps, None, adam_apart(run.device, steps, amsgrad), []


def _against_the_cpu(run: Run, preset: str | None) -> Found:
    members, epochs = unlike_members(run.sizes.checked_steps, preset), run.sizes.checked_epochs
    with draws_of_the_cpu():
        found = trained(members, run.device, epochs)
        reference = trained(members, torch.device("cpu"), epochs, together=False)
    return _compared(run, found, reference)


def _graphs(run: Run) -> Found:
    members, epochs = unlike_members(run.sizes.checked_steps), run.sizes.checked_epochs
    found = trained(members, run.device, epochs)
    return _compared(run, found, trained(members, run.device, epochs, graphs=False))


def _alone(run: Run, alike: bool) -> Found:
    steps, epochs = run.sizes.checked_steps, run.sizes.checked_epochs
    members = alike_members(run.sizes.alike, steps * CONFIG.batch_size) if alike else unlike_members(steps)
    pack = trained(members, run.device, epochs)
    found = [
        _compared(run, pack.of(i), trained([member], run.device, epochs))
        for i, member in enumerate(members)
        if not alike or i in (0, len(members) - 1)
    ]
    wrong = dict.fromkeys(one for *_, some in found for one in some)
    return found[0][0], max(one[1] for one in found), max(one[2] for one in found), list(wrong)


def _beside_a_diverging_one(run: Run) -> Found:
    steps, epochs, place = run.sizes.checked_steps, run.sizes.checked_epochs, 1
    members = alike_members(run.sizes.alike, steps * CONFIG.batch_size)
    harmed = [*members]
    harmed[place] = replace(members[place], config=CONFIG.model_copy(update={"learning_rate": 1e4}))
    found, reference = trained(harmed, run.device, epochs), trained(members, run.device, epochs)
    steps, losses, moved, wrong = _compared(run, found.without(place), reference.without(place))
    if all(value == value and abs(value) < torch.inf for value in found.losses[-1][place].values()):
        wrong.append("the member that should have diverged has finite losses")
    return steps, losses, moved, wrong


def _gone_on(run: Run) -> Found:
    members, epochs = unlike_members(run.sizes.checked_steps), run.sizes.checked_epochs
    whole = trained(members, run.device, epochs)
    begun = trained(members, run.device, epochs - 1)
    ended = trained([replace(m, state=s) for m, s in zip(members, begun.states, strict=True)], run.device, 1)
    return _compared(run, replace(ended, losses=[*begun.losses, *ended.losses], start=whole.start), whole)


def _compared(run: Run, found: Trained, reference: Trained) -> Found:
    wrong = ["no step was captured as a graph"] if run.device.type == "cuda" and not found.graphs else []
    steps = run.sizes.checked_epochs * run.sizes.checked_steps
    return steps, losses_apart(found, reference), moved_apart(found, reference), wrong


# 2. Fast: packs against the textbook loop


def speed(run: Run, part: Part) -> None:
    task = task_of(run.sizes.steps * CONFIG.batch_size)
    with products("TF32"):
        textbook = Textbook(task, run.device)
        textbook.epoch()
        work: dict[str, tuple[int, Callable[[], object]]] = {TEXTBOOK: (1, textbook.epoch)}
        memory: dict[str, Sequence[str]] = {}
        took, before = 0.0, 1
        for members in run.sizes.packs:
            name = f"pack of {members}"
            # making and warming up costs at most as much a member as before, and then each repeat less than that
            if not part.fits(run, name, took * members / before * 2):
                continue
            started = time.monotonic()
            try:
                epoch, memory[name] = _packed(run, task, members)
            except torch.OutOfMemoryError:
                part.rows.append([name, "out of memory", "", "", "", ""])
                continue
            work[name] = members, epoch
            took, before = time.monotonic() - started, members
        seconds = _in_turn(run, {name: epoch for name, (_, epoch) in work.items()})
        floor = traffic_rate(task, run.device).steps
    rates = {name: [members * run.sizes.steps / s for s in seconds[name]] for name, (members, _) in work.items()}
    times = {}
    for name, found in rates.items():
        times[name] = statistics.median(r / own for r, own in zip(found, rates[TEXTBOOK], strict=True))
        shown = memory.get(name, ("", "", ""))
        part.rows.append([name, f"{statistics.median(found):.0f}", f"{times[name]:.1f}", *shown])
    own = statistics.median(rates[TEXTBOOK])
    part.rows.append(["floor: memory traffic", f"{floor:.0f}", f"{floor / own:.1f}", "", "", ""])
    largest = [name for name in times if name != TEXTBOOK][-1:]
    rounds = len(seconds[TEXTBOOK])
    part.notes.append(f"Medians of {rounds} rounds of an epoch of {run.sizes.steps} steps each, ratios within a round.")
    part.notes += [
        f"The {name} takes {times[name]:.1f} times as many steps a second as the textbook loop; the target is {TARGET}."
        for name in largest
    ]


def _packed(run: Run, task: Task, members: int) -> tuple[Callable[[], object], Sequence[str]]:
    """A pack's epoch after a first one, in which steps are captured; its memory a member, and its count of graphs."""
    gc.collect()  # populations that are done refer to themselves
    cuda = run.device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(run.device)
        before = torch.cuda.memory_allocated(run.device), torch.cuda.memory_reserved(run.device)
    population = method.population([Member(task, CONFIG, seed) for seed in range(members)], Workers(run.device))
    population.train_epoch()
    run.wait()
    if not cuda:
        return population.train_epoch, ("", "", "0")
    peak = torch.cuda.max_memory_allocated(run.device), torch.cuda.max_memory_reserved(run.device)
    mib = [f"{(after - own) / members / 2**20:.1f}" for after, own in zip(peak, before, strict=True)]
    return population.train_epoch, (*mib, str(len(population.step.graphs) if population.step.captures else 0))


def _in_turn(run: Run, work: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each, round by round, so that a slow moment of the machine is everyone's; at least one round."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    longest = 0.0
    for number in range(run.sizes.repeats):
        if number and longest > run.clock.left / 3:  # the parts that follow want time, too
            break
        started = time.monotonic()
        for name, one in work.items():
            seconds[name].append(run.seconds(one))
        longest = max(longest, time.monotonic() - started)
    return seconds


# 3. Exact: TF32 and bfloat16 against float32


def precision(run: Run, part: Part) -> None:
    started = time.monotonic()
    if part.fits(run, "SA-DVAE", 20):
        exact, *others = (_sadvae_losses(run, name) for name in ("float32", "float32", "TF32"))
        for name in exact:
            for label, other in zip(("float32 again", "TF32"), others, strict=True):
                _judge(part, "SA-DVAE", name, label, exact[name], other[name])
    expected = time.monotonic() - started
    for extractor in EXTRACTORS.values():
        if not part.fits(run, extractor.title, expected):
            continue
        started = time.monotonic()
        exact, *others = (_extractor_losses(run, extractor, name) for name in ("float32", *PRECISIONS))
        for label, other in zip(("float32 again", *PRECISIONS[1:]), others, strict=True):
            _judge(part, extractor.title, "cross-entropy", label, exact, other)
        expected = 2 * (time.monotonic() - started)


def _judge(part: Part, network: str, loss: str, label: str, exact: Sequence[float], other: Sequence[float]) -> None:
    """A row. exact, other: the loss of each seed."""
    apart = [abs(one - two) for one, two in zip(exact, other, strict=True)]
    spread, mean = statistics.stdev(exact), statistics.mean(apart)
    within = mean <= spread  # not where either is no number
    if not within:
        part.failures.append(f"{network}, {loss} in {label}: {mean:.1e} apart, seeds {spread:.1e}")
    shown = [f"{statistics.mean(exact):.5f}", f"{spread:.1e}", f"{mean:.1e}", f"{max(apart):.1e}"]
    part.rows.append([network, loss, label, *shown, "yes" if within else "no"])


def _sadvae_losses(run: Run, precision: str) -> dict[str, list[float]]:
    """Each loss of each seed in the second epoch, when all are on."""
    task = _learnable_task(run.sizes.steps * CONFIG.batch_size)
    with products(precision):
        members = [Member(task, CONFIG, seed) for seed in range(run.sizes.seeds)]
        losses = trained(members, run.device, 2).losses[-1]
    return {name: [one[name] for one in losses] for name in losses[0]}


def _learnable_task(samples: int) -> Task:
    """benchmarks.population's task with features that lie around their class."""
    task, draw = task_of(samples), torch.Generator().manual_seed(2)
    centres = torch.rand(SEEN, FEATURES, generator=draw)
    return replace(task, features=0.7 * centres[task.labels] + 0.3 * task.features)


def made_up_clips(count: int, frames: int, bodies: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(N, 3, T, V, M) poses that sway, each class in its own way, and labels (N,)."""
    draw, joints = torch.Generator().manual_seed(seed), len(JOINTS[LAYOUT])
    pose = torch.randn(1, 3, 1, joints, bodies, generator=draw)
    sway = torch.randn(classes, 3, 1, joints, bodies, generator=draw)
    labels = torch.arange(count) % classes
    phase = torch.linspace(0, 6.3, frames) + 6.3 * torch.rand(count, 1, generator=draw)
    swaying = 0.3 * sway[labels] * phase.sin()[:, None, :, None, None]
    return pose + swaying + 0.3 * torch.randn(count, 3, frames, joints, bodies, generator=draw), labels


def computing(precision: str, device: torch.device) -> Any:
    """The context in which a network runs, as `platform.features.training.autocast` has it."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def _network(extractor: Extractor, frames: int, bodies: int, classes: int, seed: int, **values: Any) -> SkeletonNetwork:
    """With the parameters that a seed draws: speed and rounding do not hang on what was learned."""
    config = extractor.configure({"frames": frames, "bodies": bodies, **values}, "small")
    torch.manual_seed(seed)
    return extractor.build(config, classes, LAYOUT)


def _optimiser(extractor: Extractor, network: SkeletonNetwork) -> torch.optim.Optimizer:
    config = extractor.configure({}, "small")
    groups = network.parameter_groups(config.weight_decay)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=True)


def _descend(
    network: SkeletonNetwork, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor, precision: str
) -> Tensor:
    """A step of an extractor's training; returns its loss."""
    optimiser.zero_grad(set_to_none=True)
    with computing(precision, x.device):
        _, logits = network(x)
    loss = nn.functional.cross_entropy(logits.float(), y)
    loss.backward()
    network.after_backward()
    optimiser.step()
    return loss.detach()


def _extractor_losses(run: Run, extractor: Extractor, precision: str) -> list[float]:
    """The mean loss of each seed in its first epoch. Without dropout, whose draws another precision changes."""
    sizes, classes = run.sizes, min(10, run.sizes.clips // 2)
    x, y = (one.to(run.device) for one in made_up_clips(sizes.clips, sizes.frames, 1, classes))
    found, still = [], {"dropout": 0.0} if "dropout" in extractor.Config.model_fields else {}
    with products(precision):
        for seed in range(sizes.extractor_seeds):
            network = _network(extractor, sizes.frames, 1, classes, seed, **still).to(run.device).train()
            optimiser = _optimiser(extractor, network)
            order = torch.randperm(len(y), generator=generator(seed, "shuffle")).to(run.device)
            losses = [_descend(network, optimiser, x[o], y[o], precision) for o in order.split(sizes.batch)]
            found.append(torch.stack(losses).mean().item())
    return found


# 4. The extractors


def extractors(run: Run, part: Part) -> None:
    for extractor in EXTRACTORS.values():
        expected, before = 0.0, 0
        for preset, (frames, bodies, clips) in run.sizes.shapes.items():
            for training in (False, True):
                name = f"{extractor.title}, {preset}, {'training' if training else 'extracting'}"
                size = frames * bodies * clips * (3 if training else 1)
                if not part.fits(run, name, expected * size / before if before else 5):
                    continue
                started = time.monotonic()
                part.rows.append(_extractor_row(run, part, name, extractor, (frames, bodies, clips), training))
                expected, before = time.monotonic() - started, size


def _extractor_row(
    run: Run, part: Part, name: str, extractor: Extractor, shape: tuple[int, int, int], training: bool
) -> Sequence[object]:
    frames, bodies, clips = shape
    network = _network(extractor, frames, bodies, CLASSES, 0).to(run.device)
    alone = _clips_a_second(run, extractor, network, shape, "float32", training, 2 if training else 1)
    rates: dict[str, float] = {}
    batch = clips
    for one in PRECISIONS:
        while batch:
            try:
                rates[one] = _clips_a_second(run, extractor, network, shape, one, training, batch)
                break
            except torch.OutOfMemoryError:
                network.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()
                batch //= 2
    if not training:
        cosine = _least_cosine(run, network, shape)
        if not cosine > 0.98:
            part.failures.append(f"{name}: features in bfloat16 are {cosine:.3f} (cosine) near those in float32")
    cells = [f"{rates[one]:.0f} ({rates[one] / alone:.1f})" if one in rates else "out of memory" for one in PRECISIONS]
    return [name, frames, bodies, batch, f"{alone:.1f}", *cells, "" if training else f"{cosine:.4f}"]


def _clips_a_second(
    run: Run,
    extractor: Extractor,
    network: SkeletonNetwork,
    shape: tuple[int, int, int],
    precision: str,
    training: bool,
    batch: int,
) -> float:
    """The median of some repeats, after warm-ups. The clips are on the device already."""
    x, y = (one.to(run.device) for one in made_up_clips(batch, *shape[:2], CLASSES))
    network.train(training)
    optimiser = _optimiser(extractor, network)

    def extract() -> None:
        with torch.inference_mode(), computing(precision, run.device):
            network(x)

    work = partial(_descend, network, optimiser, x, y, precision) if training else extract
    with products(precision):
        for _ in range(3 if run.device.type == "cuda" else 1):
            work()
        seconds = [run.seconds(work) for _ in range(2 * run.sizes.repeats)]
    return batch / statistics.median(seconds)


def _least_cosine(run: Run, network: SkeletonNetwork, shape: tuple[int, int, int]) -> float:
    """Between the features of a clip in bfloat16 and in float32."""
    x = made_up_clips(2, *shape[:2], CLASSES)[0].to(run.device)
    network.train()
    with torch.inference_mode(), products("float32"):
        network(x)  # running statistics other than those of the start
        network.eval()
        exact = network(x)[0]
        with computing("bfloat16", run.device):
            rough = network(x)[0]
    return nn.functional.cosine_similarity(rough.float(), exact).min().item()


# All parts


def parts_of(sizes: Sizes) -> list[tuple[Callable[[Run, Part], None], Part]]:
    """Each part's function and the table that it fills."""
    right = Part(
        "1. Results against the CPU's and a member's alone",
        ["", "baseline", "steps", "losses apart (at most)", "parameters apart (at most)", "agree"],
        notes=[
            "SA-DVAE, float32 products. Losses: the largest relative difference over members, epochs and losses.",
            "Parameters: the largest over members and layers, relative to how far the layer moved (norms). Against the",
            "CPU both draw the CPU's numbers, since a GPU draws others from the same seed.",
        ],
    )
    fast = Part(
        "2. Speed of packs against the textbook loop",
        [
            "",
            "member-steps a second",
            "times the textbook loop",
            "MiB a member, allocated",
            "reserved",
            "CUDA graphs",
        ],
        notes=[
            "SA-DVAE with NTU-60's shapes, as in benchmarks.population; TF32 products in all rows. Memory: what the",
            "peak grew by as a pack was made and trained for an epoch, the data that members share included.",
        ],
    )
    exact = Part(
        "3. TF32 and bfloat16 against float32",
        ["network", "loss", "in", "float32, mean", "spread of seeds", "apart, mean", "apart, largest", "within"],
        notes=[
            f"SA-DVAE: mean losses of the second epoch, {sizes.seeds} seeds; it has no bfloat16. Extractors, preset",
            f"small, without dropout: mean loss of the first epoch, {sizes.extractor_seeds} seeds. Spread: the",
            "standard deviation over seeds in float32; apart: the same seed in float32 and as said; within: the mean",
            "is no larger than the spread. The baseline is float32; float32 again: what varies without a change.",
        ],
    )
    skeletons = Part(
        "4. Clips a second of the extractors",
        [
            "",
            "frames",
            "bodies",
            "batch",
            "baseline: one clip at a time, float32",
            *(f"{one} (times the baseline)" for one in PRECISIONS),
            "least cosine, bfloat16",
        ],
        notes=[
            "Made-up clips of 25 joints, already on the device, every body there; float32 is without TF32. Training:",
            "whole steps, the baseline's of two clips, since it normalises over the batch. A batch is halved where",
            "memory is used up. The cosine is that of features in bfloat16 with those in float32.",
        ],
    )
    return [(correctness, right), (speed, fast), (precision, exact), (extractors, skeletons)]


def facts(device: torch.device, clock: Clock) -> list[str]:
    """When, by which command, on what and with which libraries; no machine's name."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    given = [Path(one).name if Path(one).is_absolute() else one for one in sys.argv[1:]]
    found = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "pydantic"))
    return [
        f"{date.today()}, by `{shlex.join(['python', '-m', 'benchmarks.gpu', *given])}`",
        f"{gpu}, CUDA {torch.version.cuda}, {os.cpu_count()} cores",
        f"Python {platform.python_version()}, {found}",
        f"{time.monotonic() - clock.started:.0f} seconds",
    ]


def write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial_file = folder / f"{name}.part"
    partial_file.write_text(text)
    partial_file.rename(folder / f"{name}-{date.today()}.md")


def verdict(parts: Sequence[Part]) -> str:
    failed = [f"{part.title}: {what}" for part in parts for what in part.failures]
    said = [f"Failed: {len(failed)}.", *(f"- {what}" for what in failed)] if failed else ["Nothing failed."]
    return "\n".join(said)


def measured(run: Run, parts: Sequence[tuple[Callable[[Run, Part], None], Part]], kept: Callable[[], None]) -> None:
    """Every part, whatever becomes of the others; `kept` is called after each."""
    for measure, part in parts:
        gc.collect()
        if run.device.type == "cuda":
            torch.cuda.empty_cache()
        if part.fits(run, "all of it", 0):
            try:
                measure(run, part)
            except Exception as error:  # whatever it is, the other parts are worth their time
                traceback.print_exc()
                said = str(error).strip().splitlines() or [""]
                part.failures.append(f"it broke off with {type(error).__name__}: {said[0]}")
        print(f"{part.title}: {run.clock.left:.0f} seconds left", file=sys.stderr)
        kept()


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="in which all ends; what no longer fits is left out")
    parser.add_argument("--out", type=Path, default=os.environ.get("OUT"), help="folder for the tables")
    parser.add_argument("--commit", default="", help="of this working tree, where it is no repository")
    parser.add_argument("--small", action="store_true", help="little of everything, to see on a CPU that it runs")
    parser.add_argument("--device", default="auto")
    return parser


def main() -> None:
    asked = options().parse_args()
    clock = Clock(60 * asked.minutes)
    device = device_of(asked.device)
    if asked.small:
        torch.set_num_threads(1)  # more only wait for each other
    sizes = SMALL if asked.small else Sizes()
    run, parts = Run(device, sizes, clock), parts_of(sizes)
    name, title = f"gpu-{device.type}", f"A GPU's results, speed and precision: {device.type}"
    commit = asked.commit or commit_of(Path(__file__).resolve().parents[1]) or "unknown"

    def text() -> str:
        said = [f"- {fact}" for fact in (f"commit {commit}", *facts(device, clock))]
        tables = [part.text for _, part in parts if part.rows or part.failures or part.left_out]
        return "\n\n".join([f"# {title}", "\n".join(said), verdict([p for _, p in parts]), *tables]) + "\n"

    def keep_so_far() -> None:
        if asked.out is not None:
            write(Path(asked.out), name, text())

    measured(run, parts, keep_so_far)
    if asked.out is not None:
        print(text())
    else:
        try:
            keep_text(name, title, [verdict([p for _, p in parts]), *(part.text for _, part in parts)])
        except PackageNotFoundError as error:  # the record names libraries of the whole environment
            print(text())
            print(f"not kept: there is no {error.name}; give --out FOLDER", file=sys.stderr)
    sys.exit(int(any(part.failures for _, part in parts)))


if __name__ == "__main__":
    main()
