"""ERPCNet's environment and its partial convolution: `python -m benchmarks.erpcnet`.

Each line is a ratio against a named baseline of the same run:

- steps a second of the vectorised environment over embeddings that were computed once, random free cells, against the
  same environment with the backbone and the locality computed again at every step ("recomputed"), and against one
  environment for each place, stepped one by one ("single environment"). A step that only begins an episode counts as
  time, not as a step;
- what the embeddings cost beforehand: time per picture to embed every cell, against one recomputed step, so that the
  ratio is the number of steps a picture after which they have paid for themselves;
- time per picture of partial convolution (`crops=maps`) against image crops (`crops=image`, HardNet), same backbone
  and steps: forward and backward of stage I's losses on a batch, and a full walk of the policy in testing.

Pictures are noise and weights are random: neither changes how long the networks take.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.record import keep
from methods.environments.localities import Localities, LocalitiesEnv, LocalitiesVectorEnv
from methods.erpcnet import ERPCNetConfig, ERPCNetModel
from methods.erpcnet.losses import losses
from methods.erpcnet.network import LocalityNetwork, fresh_network
from methods.erpcnet.pictures import normalised
from methods.erpcnet.policy import first_weights
from platform.training.devices import device_of

SEEN, UNSEEN, TEXT = 40, 10, 85
PLACES = (32, 128)
RECOMPUTED, SINGLE, CACHED, EMBEDDING = "recomputed", "single environment", "cached", "embedding"
MAPS, IMAGE = "maps", "image"
PAPER = {"training": "2/3", "testing": "1/2"}

Row = Sequence[object]


class Recomputed:
    """Stands where the embeddings (N, G, E) do, and computes those that are asked for from their pictures."""

    def __init__(self, network: LocalityNetwork, pictures: Tensor) -> None:
        self.network, self.pictures, self.device = network, pictures, pictures.device
        self.shape = (len(pictures), network.cells, network.width)
        self.new_zeros = network.fc_g.weight.new_zeros
        self.ratios = LastRatios(self)
        self.last_ratios: Tensor | None = None

    def __getitem__(self, chosen: tuple[Tensor, Tensor]) -> Tensor:
        """ē_l, (n, E). chosen: (n,) pictures and (n,) cells."""
        rows, cells = chosen
        with torch.no_grad():
            maps, _ = self.network.embedded(normalised(self.pictures[rows]))
            embeddings, self.last_ratios = self.network.looked(maps, cells)
        return embeddings


class LastRatios:
    """β of the embeddings that were computed last, which the environment asks for next."""

    def __init__(self, recomputed: Recomputed) -> None:
        self.recomputed = recomputed

    def __getitem__(self, chosen: tuple[Tensor, Tensor]) -> Tensor:
        return self.recomputed.last_ratios


def localities_of(network: LocalityNetwork, pictures: Tensor, text: Tensor) -> Localities:
    """Every cell of all pictures, (N, 3, side, side) uint8. text: (S, A)."""
    with torch.no_grad():
        maps, whole = network.embedded(normalised(pictures))
        embeddings, ratios = network.everywhere(maps)
        believed = (network.global_attributes(whole) @ text.T).softmax(dim=1)
    labels = torch.arange(len(pictures), device=pictures.device) % len(text)
    return Localities(
        global_embeddings=whole,
        embeddings=embeddings,
        ratios=ratios,
        labels=labels,
        global_probability=believed.gather(1, labels[:, None])[:, 0],
        joint=lambda sequence: (network.joint_attributes(network.fc_j1(sequence)) @ text.T).softmax(dim=1),
    )


def recomputed_of(network: LocalityNetwork, pictures: Tensor, cached: Localities) -> Localities:
    """The same localities, whose embeddings are computed whenever a step asks for them; the global ones stay known."""
    recomputed = Recomputed(network, pictures)
    return Localities(
        global_embeddings=cached.global_embeddings,
        embeddings=recomputed,
        ratios=recomputed.ratios,
        labels=cached.labels,
        global_probability=cached.global_probability,
        joint=cached.joint,
    )


def environment_rows(config: ERPCNetConfig, pictures: Tensor, text: Tensor, repeats: int, seconds: float) -> list[Row]:
    """Steps a second of the environments, and what the embeddings cost."""
    network = fresh_network(config, TEXT, 0).to(pictures.device).requires_grad_(False).eval()
    cached = localities_of(network, pictures, text)
    recomputed = recomputed_of(network, pictures, cached)
    agree(cached, recomputed, config)
    measures = {EMBEDDING: partial(_milliseconds, partial(localities_of, network, pictures, text), pictures, seconds)}
    for places in PLACES:
        measures |= {
            f"{RECOMPUTED} {places}": partial(vector_rate, recomputed, config, places, seconds),
            f"{SINGLE} {places}": partial(single_rate, cached, config, places, seconds),
            f"{CACHED} {places}": partial(vector_rate, cached, config, places, seconds),
        }
    found = _rounds(measures, repeats)
    rows = [
        _row(f"environment steps a second, cached embeddings, places: {places}", baseline,
             found[f"{baseline} {places}"], found[f"{CACHED} {places}"])
        for baseline in (RECOMPUTED, SINGLE) for places in PLACES
    ]  # fmt: skip
    for places in PLACES:
        step = [1e3 / rate for rate in found[f"{RECOMPUTED} {places}"]]
        what = f"ms a picture to embed all {network.cells} cells"
        rows.append(_row(what, f"one recomputed step, places: {places}", step, found[EMBEDDING]))
    return rows


def agree(one: Localities, other: Localities, config: ERPCNetConfig) -> None:
    """Both return the same observations and rewards over two episodes. Raises AssertionError where they do not."""
    count = min(PLACES)
    first, second = (
        LocalitiesVectorEnv(localities, count, sigma=config.sigma, steps=config.steps) for localities in (one, other)
    )
    observed, _ = first.reset(seed=0)
    np.testing.assert_allclose(second.reset(seed=0)[0], observed)
    draw, cells = np.random.default_rng(0), first.single_action_space.n
    for _ in range(2 * (config.steps + 1)):
        actions = free_cells(observed, cells, draw)
        (observed, *told), (also, *retold) = first.step(actions), second.step(actions)
        for expected, actual in zip((observed, *told[:3]), (also, *retold[:3]), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-2, atol=1e-3)  # TF32 on a GPU


def free_cells(observations: np.ndarray, cells: int, draw: np.random.Generator) -> np.ndarray:
    """(n,) cells at random among those not visited yet. observations: (n, E + G)."""
    free = observations[:, -cells:]
    return (free * (1 - draw.random(free.shape))).argmax(axis=1)


def vector_rate(localities: Localities, config: ERPCNetConfig, places: int, seconds: float) -> float:
    """Steps a second, all places together."""
    env = LocalitiesVectorEnv(localities, places, sigma=config.sigma, steps=config.steps)
    draw, cells = np.random.default_rng(0), env.single_action_space.n
    observed, _ = env.reset(seed=0)
    ended = np.zeros(places, bool)

    def step() -> int:
        nonlocal observed, ended
        begins = int(ended.sum())
        observed, _, ended, *_ = env.step(free_cells(observed, cells, draw))
        return places - begins

    return _steps_a_second(step, config, seconds)


def single_rate(localities: Localities, config: ERPCNetConfig, places: int, seconds: float) -> float:
    """Steps a second, an environment for each place and one after the other."""
    envs = [LocalitiesEnv(localities, config.sigma, config.steps) for _ in range(places)]
    draw, cells = np.random.default_rng(0), int(envs[0].action_space.n)
    observed = [env.reset(seed=seed)[0] for seed, env in enumerate(envs)]
    ended = [False] * places

    def step() -> int:
        begins = sum(ended)
        for place, env in enumerate(envs):
            if ended[place]:
                observed[place], ended[place] = env.reset()[0], False
            else:
                action = int(free_cells(observed[place][None], cells, draw)[0])
                observed[place], _, ended[place], *_ = env.step(action)
        return places - begins

    return _steps_a_second(step, config, seconds)


def crop_rows(
    configs: Mapping[str, ERPCNetConfig], pictures: Tensor, text: Tensor, repeats: int, seconds: float
) -> list[Row]:
    """Time per picture, localities of feature maps against those of the image. configs: of both, by `crops`."""
    makers = {"training": training_step, "testing": full_walk}
    what = {
        "training": f"ms a picture, training of stage I, batch {len(pictures)}, partial convolution",
        "testing": "ms a picture, testing, partial convolution",
    }
    rows = []
    for phase, maker in makers.items():
        works = {crops: maker(config, pictures, text) for crops, config in configs.items()}
        measures = {crops: partial(_milliseconds, work, pictures, seconds) for crops, work in works.items()}
        found = _rounds(measures, repeats)
        rows.append(_row(what[phase], "image crops (HardNet)", found[IMAGE], found[MAPS], PAPER[phase]))
    return rows


def training_step(config: ERPCNetConfig, pictures: Tensor, text: Tensor) -> Callable[[], object]:
    """Forward and backward of stage I's losses on one batch; without augmentation and the optimiser's step."""
    network = fresh_network(config, TEXT, 0).to(pictures.device).train()
    given, labels = normalised(pictures), torch.arange(len(pictures), device=pictures.device) % len(text)
    draw = torch.Generator().manual_seed(0)
    chosen = torch.rand(len(pictures), network.cells, generator=draw).argsort(dim=1)[:, : config.steps]
    chosen = chosen.to(pictures.device)

    def step() -> None:
        terms, _ = losses(network, given, labels, text, chosen)
        network.zero_grad()
        terms.sum().backward()

    return step


def full_walk(config: ERPCNetConfig, pictures: Tensor, text: Tensor) -> Callable[[], object]:
    """A model's walks over all T steps, its policy's, from the stored pictures on."""
    network = fresh_network(config, TEXT, 0).to(pictures.device)
    policy = first_weights(network.width, network.cells, torch.Generator().manual_seed(0))
    model = ERPCNetModel(
        seen=tuple(f"seen {i}" for i in range(SEEN)),
        unseen=tuple(f"unseen {i}" for i in range(UNSEEN)),
        combination=None,
        config=config,
        seed=0,
        weights=network.state_dict(),
        policy={name: tensor.to(pictures.device) for name, tensor in policy.items()},
        semantics=torch.cat([text, text[:UNSEEN]]),
    )
    stored = pictures.flatten(1)
    return lambda: model.walk(stored[:])  # a view of its own, since a model keeps the last one's walks


def _rounds(measures: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """What each measure found, round by round and every other one backwards, so that other work meets all alike."""
    names, rounds = list(measures), []
    for number in range(repeats):
        rounds.append({name: measures[name]() for name in (names if number % 2 == 0 else reversed(names))})
    return {name: [found[name] for found in rounds] for name in names}


def _steps_a_second(step: Callable[[], int], config: ERPCNetConfig, seconds: float) -> float:
    """Over whole episodes: T steps and one that begins the next. step: how many steps it took."""
    step()
    taken, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        taken += sum(step() for _ in range(config.steps + 1))
    return taken / passed


def _milliseconds(work: Callable[[], object], pictures: Tensor, seconds: float) -> float:
    """Of work on all pictures, for each of them."""
    work()
    _finish(pictures.device)
    calls, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        work()
        _finish(pictures.device)
        calls += 1
    return 1e3 * passed / (calls * len(pictures))


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _row(what: str, against: str, baseline: Sequence[float], found: Sequence[float], paper: str = "–") -> Row:
    """Medians, the median of the rounds' own ratios, and their range."""
    ratios = [own / other for own, other in zip(found, baseline, strict=True)]
    medians = (f"{statistics.median(values):.4g}" for values in (baseline, found))
    return what, against, *medians, f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} … {max(ratios):.2f}", paper


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="squeezenet1_0")
    parser.add_argument("--side", type=int, default=128, help="of the pictures, in pixels; the paper: 224")
    parser.add_argument("--kernel", type=int, default=3, help="of the partial convolution; the paper: 5")
    parser.add_argument("--stride", type=int, default=2, help="between cells; the paper: 3")
    parser.add_argument("--steps", type=int, default=4, help="T; the paper: 6, or 10")
    parser.add_argument("--pictures", type=int, default=32, help="of a batch, and of the environment")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measure, at least")
    parser.add_argument("--crops-only", action="store_true", help="leave the environment out; a table of its own")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="as a search's trials have it")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = device_of(asked.device)
    names = ("backbone", "side", "kernel", "stride", "steps")
    maps = ERPCNetConfig(weights="none", **{name: getattr(asked, name) for name in names})
    network = fresh_network(maps, TEXT, 0)
    cells, map_side = network.cells, network.map_side
    image = maps.model_copy(update={"crops": IMAGE})
    patch = fresh_network(image, TEXT, 0)._window[0]
    draw = torch.Generator().manual_seed(0)
    shape = (asked.pictures, 3, maps.side, maps.side)
    pictures = torch.randint(256, shape, generator=draw, dtype=torch.uint8).to(device)
    text = torch.nn.functional.normalize(torch.randn(SEEN, TEXT, generator=draw), dim=1).to(device)
    rows = [] if asked.crops_only else environment_rows(maps, pictures, text, asked.repeats, asked.seconds)
    rows += crop_rows({IMAGE: image, MAPS: maps}, pictures, text, asked.repeats, asked.seconds)
    keep(
        f"erpcnet-{'crops-' if asked.crops_only else ''}{device.type}",
        f"ERPCNet: {'' if asked.crops_only else 'environment and '}partial convolution, {device.type}",
        ["measured", "against", "baseline", "here", "ratio", "rounds' ratios", "the paper's ratio"],
        rows,
        [
            f"Medians of {asked.repeats} rounds, ratios within a round; threads: {asked.threads}. {maps.backbone}, "
            f"{maps.side} pixels, {asked.pictures} pictures, T = {maps.steps}; maps {map_side} × {map_side}, kernel "
            f"{maps.kernel}, stride {maps.stride}: {cells} cells; patches of the image: {patch} pixels.",
            "Steps of the environment: above 1 is faster. Times: below 1 is faster, and of the embedding it is the "
            "number of steps a picture after which it has paid for itself.",
            "The paper's setting is ResNet101 at 224 pixels, kernel 5, stride 3, T = 6 or 10.",
        ],
    )


if __name__ == "__main__":
    main()
