"""Steps a second of SA-DVAE's packs against a textbook loop of the same model: `python -m benchmarks.population`.

Input like NTU-60's: 36,000 × 256 features, 60 classes with 1024-d text, z_r 160, z_v 8, batch 32. The textbook loop has
one module per network, a single-process DataLoader and a default Adam. Two floors: the step's matrix products and a
fused Adam with the shapes of one member, and the traffic of its parameters alone. Beside each pack, the same without
gradients that are written by hand; with --earlier, the same pack of another checkout of the project.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, mse_loss
from torch.optim.adam import adam
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.record import keep
from methods.sadvae import SADVAEConfig, method
from platform.method import Member, Method
from platform.training.devices import device_of
from platform.workers import Workers
from platform.zeroshot.task import Task

SAMPLES, FEATURES, TEXT, SEEN, UNSEEN = 36_000, 256, 1024, 55, 5
TEXTBOOK = "textbook loop"
CONFIG = SADVAEConfig(z_r=160, z_v=8, batch_size=32, n_d=5, learning_rate=3.39e-5, epochs=1)


def task_of(samples: int, seed: int = 0) -> Task:
    draw = torch.Generator().manual_seed(seed)
    semantics = nn.functional.normalize(torch.randn(SEEN + UNSEEN, TEXT, generator=draw), dim=1)
    return Task(
        seen=tuple(f"seen {i}" for i in range(SEEN)),
        unseen=tuple(f"unseen {i}" for i in range(UNSEEN)),
        features=torch.rand(samples, FEATURES, generator=draw),
        labels=torch.randint(SEEN, (samples,), generator=draw),
        semantics=semantics,
    )


@dataclass(frozen=True)
class Rate:
    """steps: member-steps a second; memory: bytes a member, where it was looked at."""

    steps: float
    memory: float = 0.0


class Textbook:
    """The loop that one would write first; epoch 1 of Eq. 13, when every loss is on."""

    def __init__(self, task: Task, device: torch.device) -> None:
        z = CONFIG.z_r + CONFIG.z_v
        self.device, self.semantics = device, task.semantics.to(device)
        self.encoder_x = nn.ModuleDict({n: nn.Linear(FEATURES, w) for n, w in self.heads().items()}).to(device)
        self.encoder_y = nn.ModuleDict({n: nn.Linear(TEXT, CONFIG.z_r) for n in ("mean", "logvar")}).to(device)
        self.decoder_x = nn.Linear(z, FEATURES).to(device)
        self.decoder_y = nn.Linear(CONFIG.z_r, TEXT).to(device)
        self.discriminator = nn.Sequential(nn.Linear(z, z // 4), nn.ReLU(), nn.Linear(z // 4, 1)).to(device)
        vae = [self.encoder_x, self.encoder_y, self.decoder_x, self.decoder_y]
        self.optimiser = torch.optim.Adam([p for m in vae for p in m.parameters()], lr=CONFIG.learning_rate)
        self.adversary = torch.optim.Adam(self.discriminator.parameters(), lr=CONFIG.learning_rate)
        self.loader = DataLoader(TensorDataset(task.features, task.labels), CONFIG.batch_size, shuffle=True)

    @staticmethod
    def heads() -> dict[str, int]:
        return {"mean_v": CONFIG.z_v, "logvar_v": CONFIG.z_v, "mean_r": CONFIG.z_r, "logvar_r": CONFIG.z_r}

    def epoch(self) -> None:
        steps = len(self.loader)
        for step, (x, labels) in enumerate(self.loader):
            x, y = x.to(self.device), self.semantics[labels.to(self.device)]
            ramp = max(0.0, 1.5 * (step / steps - 1 / 3))
            h = {name: layer(x) for name, layer in self.encoder_x.items()}
            mean_y, logvar_y = self.encoder_y["mean"](y), self.encoder_y["logvar"](y)
            z_v = h["mean_v"] + (0.5 * h["logvar_v"]).exp() * torch.randn_like(h["mean_v"])
            z_r = h["mean_r"] + (0.5 * h["logvar_r"]).exp() * torch.randn_like(h["mean_r"])
            z_y = mean_y + (0.5 * logvar_y).exp() * torch.randn_like(mean_y)
            z_x = torch.cat([z_v, z_r], 1)
            kl_x = divergence(h["mean_v"], h["logvar_v"]) + divergence(h["mean_r"], h["logvar_r"])
            own = mse_loss(self.decoder_x(z_x), x) + mse_loss(self.decoder_y(z_y), y)
            crossed = mse_loss(self.decoder_x(torch.cat([z_v, z_y], 1)), x) + mse_loss(self.decoder_y(z_r), y)
            altered = torch.cat([z_v[torch.randperm(len(z_v))], z_r], 1)
            correlation = logsigmoid(self.discriminator(z_x)) + logsigmoid(-self.discriminator(altered))
            loss = (
                own
                + crossed
                + ramp
                * (
                    CONFIG.beta_x * kl_x
                    + CONFIG.beta_y * divergence(mean_y, logvar_y)
                    + CONFIG.lambda_2 * correlation.mean()
                )
            )
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            if (step + 1) % CONFIG.n_d == 0:
                joint, apart = self.discriminator(z_x.detach()), self.discriminator(altered.detach())
                loss = binary_cross_entropy_with_logits(joint, torch.ones_like(joint))
                loss = 0.5 * (loss + binary_cross_entropy_with_logits(apart, torch.zeros_like(apart)))
                self.adversary.zero_grad()
                loss.backward()
                self.adversary.step()


def divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()


def second_epoch(method: Method, members: Sequence[Member], device: torch.device) -> float:
    """Seconds of a population's second epoch, in which every loss is on."""
    population = method.population(members, Workers(device))
    population.train_epoch()
    started = time.perf_counter()
    population.train_epoch()  # its losses are numbers: a GPU has come to the end of the epoch
    return time.perf_counter() - started


def population_rate(task: Task, device: torch.device, members: int, accelerate: bool = True) -> Rate:
    """Of a pack."""
    device_of(str(device))
    before, config = _memory(device), CONFIG.model_copy(update={"accelerate": accelerate})
    seconds = second_epoch(method, [Member(task, config, seed) for seed in range(members)], device)
    steps = members * -(-len(task.labels) // CONFIG.batch_size)
    return Rate(steps / seconds, (_memory(device) - before) / members)


def _memory(device: torch.device) -> float:
    """The most that this process had so far, bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def textbook_rate(task: Task, device: torch.device) -> Rate:
    loop = Textbook(task, device)
    loop.epoch()
    _wait(device)
    started = time.perf_counter()
    loop.epoch()
    _wait(device)
    return Rate(len(loop.loader) / (time.perf_counter() - started))


def arithmetic_rate(task: Task, device: torch.device, repeats: int = 300) -> Rate:
    """Steps a second of one member if only its products and a fused Adam took time; the samples do not matter."""
    b, z = CONFIG.batch_size, CONFIG.z_r + CONFIG.z_v
    layers = [(b, FEATURES, 2 * z, False), (b, TEXT, 2 * CONFIG.z_r, False)]  # the encoders need no input gradient
    layers += [(2 * b, z, FEATURES, True), (2 * b, CONFIG.z_r, TEXT, True)]
    tensors = [
        (torch.randn(r, i, device=device), torch.randn(i, o, device=device), torch.randn(r, o, device=device), g)
        for r, i, o, g in layers
    ]
    weights = [w for _, w, _, _ in tensors]
    gradients, mean, square = ([torch.zeros_like(w) for w in weights] for _ in range(3))
    steps = [torch.zeros((), device=device) for _ in weights]

    def step() -> None:
        for x, weight, gradient, input_gradient in tensors:
            x @ weight
            x.T @ gradient
            if input_gradient:
                gradient @ weight.T
        adam(weights, gradients, mean, square, [], steps, fused=True, foreach=False, amsgrad=False, beta1=0.9,
             beta2=0.999, lr=1e-4, weight_decay=0.0, eps=1e-8, maximize=False)  # fmt: skip

    for _ in range(20):
        step()
    _wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        step()
    _wait(device)
    return Rate(repeats / (time.perf_counter() - started))


def traffic_rate(task: Task, device: torch.device, repeats: int = 20) -> Rate:
    """Steps a second if only memory took time, where no cache holds a member from one step to the next.

    Each parameter is read forward and backward, its gradient written and read, and it and its two moments read and
    written by Adam: ten numbers a parameter and step, at the rate at which a large tensor is copied.
    """
    z = CONFIG.z_r + CONFIG.z_v
    parameters = FEATURES * 2 * z + TEXT * 2 * CONFIG.z_r + z * FEATURES + CONFIG.z_r * TEXT
    source = torch.ones(64 << 20, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    _wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        target.copy_(source)
    _wait(device)
    copied = 2 * source.nbytes * repeats / (time.perf_counter() - started)  # read and written
    return Rate(copied / (10 * 4 * parameters))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def earlier_rate(checkout: Path, samples: int, device: torch.device, members: int) -> Rate:
    """A pack's, in another checkout, whose own `population_rate` a fresh process calls."""
    program = (
        "import sys; sys.path.insert(0, '.'); sys.modules.pop('platform', None); import torch; "
        "from benchmarks.population import population_rate, task_of; "
        f"found = population_rate(task_of({samples}), torch.device('{device}'), {members}); "
        "print(found.steps, found.memory)"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True, check=True)
    return Rate(*map(float, found.stdout.split()[-2:]))


def _measures(
    samples: int, packs: Sequence[int], device: torch.device, earlier: Path | None
) -> dict[str, Callable[[], Rate]]:
    """Row to what measures it."""
    measures = {TEXTBOOK: partial(_in_a_process, textbook_rate, samples, device)}
    count = (os.cpu_count() or 1) if device.type == "cpu" else 1
    for members in packs:
        share = max(samples // members, 20 * CONFIG.batch_size)
        measures[f"pack of {members}"] = partial(_in_a_process, population_rate, share, device, members)
        measures[f"pack of {members}, stated losses alone"] = partial(
            _in_a_process, population_rate, share, device, members, False
        )
        if earlier:
            measures[f"pack of {members}, earlier"] = partial(earlier_rate, earlier, share, device, members)
        if members % count == 0 and count > 1:
            name = f"{count} packs of {members // count}, a thread each"
            measures[name] = partial(_side_by_side, count, population_rate, share, device, members // count)
    measures["floor: products and Adam"] = partial(_in_a_process, arithmetic_rate, samples, device)
    measures["floor: memory traffic"] = partial(_in_a_process, traffic_rate, samples, device)
    return measures


def _in_a_process(rate: Callable[..., Rate], samples: int, device: torch.device, *rest: int) -> Rate:
    """Measured in a fresh process: `device_of` tunes a process's memory, which is ours and not the textbook's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (rate, samples, device, None, *rest))


def _side_by_side(count: int, rate: Callable[..., Rate], samples: int, device: torch.device, *rest: int) -> Rate:
    """The sum over processes of one thread each: how a search's packs share a machine."""
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        rates = pool.starmap(_measured, [(rate, samples, device, 1, *rest)] * count, chunksize=1)
    return Rate(sum(r.steps for r in rates), statistics.mean(r.memory for r in rates))


def _measured(rate: Callable[..., Rate], samples: int, device: torch.device, threads: int | None, *rest: int) -> Rate:
    if threads:
        torch.set_num_threads(threads)
    return rate(task_of(samples), device, *rest)


def _commit(checkout: Path) -> str:
    asked = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packs", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128, 256])
    parser.add_argument("--samples", type=int, default=SAMPLES // 4, help="of a pack of one; larger packs take a share")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--earlier", type=Path, help="another checkout, to compare with")
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() and asked.device != "cpu" else "cpu")
    rates: dict[str, list[Rate]] = {}
    for _ in range(asked.repeats):  # in turn, so that a machine's slow minute is every row's
        for name, measure in _measures(asked.samples, asked.packs, device, asked.earlier).items():
            rates.setdefault(name, []).append(measure())
    textbook = [r.steps for r in rates[TEXTBOOK]]
    rows = []
    for name, measured in rates.items():
        ratio = statistics.median(r.steps / own for r, own in zip(measured, textbook, strict=True))
        memory = statistics.median(r.memory for r in measured)
        steps = statistics.median(r.steps for r in measured)
        rows.append([name, f"{steps:.0f}", f"{ratio:.2f}", f"{memory / 2**20:.0f}" if memory else ""])
    keep(
        f"population-{device.type}",
        f"SA-DVAE: member-steps a second of packs, {device.type}",
        ["", "member-steps a second", "times the textbook loop", "MiB a member"],
        rows,
        [
            f"Medians of {asked.repeats} rounds, ratios within a round; {torch.get_num_threads()} threads if not said.",
            "A pack of n trains on 1/n of the samples, but at least 20 batches. Memory: what the process grew by, the",
            "data that members share included.",
            *([f"Earlier: commit {_commit(asked.earlier)}."] if asked.earlier else []),
        ],
    )


if __name__ == "__main__":
    main()
