"""Walks over localities: which cells a sampler visits, what is predicted after each, and where a walk may stop.

A walk is taken for all T steps and its end is found afterwards: the cells do not depend on which classes are asked for,
while the reward that ends a walk does (Eq. 6). T, G, E, A and H as in `methods.erpcnet.network`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from methods.erpcnet.network import LocalityNetwork
from methods.erpcnet.policy import LocalityPolicy
from methods.erpcnet.reward import reward
from platform.population.draws import generator
from platform.zeroshot.steps import Steps

Chooser = Callable[[int, Tensor, Tensor], Tensor]  # step, embedding (N, E), visited (N, G) bool to cells (N,)
Look = Callable[[Tensor], tuple[Tensor, Tensor]]  # cells (N,) to ē_l (N, E) and β (N,)


@dataclass(frozen=True)
class Walk:
    """What N samples' walks found.

    cells: (N, T); ratios: (N, T), β; whole: (N, E), ē_g; global_attributes: (N, A), ā_g; joint_attributes: (N, T, A),
    ā_j, and joint_embeddings: (N, T, H), e_j, after each step, or (N, 0, H) where they are not wanted: they are by far
    the largest. T is 0 where there is no local subnet.
    """

    cells: Tensor
    ratios: Tensor
    whole: Tensor
    global_attributes: Tensor
    joint_attributes: Tensor
    joint_embeddings: Tensor

    @classmethod
    def joined(cls, walks: list["Walk"]) -> "Walk":
        """Of several batches, one after the other."""
        return cls(**{f.name: torch.cat([getattr(walk, f.name) for walk in walks]) for f in fields(cls)})

    def predictions(self, semantics: Tensor) -> Tensor:
        """Log-probabilities (N, T + 1, C): of the global prediction alone, then of ā_j,t + ā_g. semantics: (C, A)."""
        whole = self.global_attributes[:, None]
        attributes = torch.cat([whole, whole + self.joint_attributes], dim=1)
        return (attributes @ semantics.T).log_softmax(dim=2)

    def rewards(self, semantics: Tensor, entropy: bool) -> Tensor:
        """r, (N, T), of Eq. 6 over some classes, where the label predicted after a step stands for the truth.

        semantics: (C, A); entropy: whether β weighs it.
        """
        whole = self.global_attributes @ semantics.T  # (N, C)
        joint = self.joint_attributes @ semantics.T  # (N, T, C)
        predicted = (whole[:, None] + joint).argmax(dim=2)
        by_whole = whole.softmax(dim=1)[:, None].expand_as(joint).gather(2, predicted[..., None])[..., 0]
        ratios = self.ratios if entropy else torch.ones_like(self.ratios)
        return reward(joint.softmax(dim=2), by_whole, predicted, ratios)

    def ends(self, semantics: Tensor, sigma: float | None, entropy: bool) -> Tensor:
        """(N,) steps that each walk takes: until the reward reaches σ, else T. sigma: None never stops early."""
        steps = self.cells.shape[1]
        ended = torch.full((len(self.cells),), steps, device=self.cells.device)
        if sigma is None or not steps:
            return ended
        enough = self.rewards(semantics, entropy) >= sigma
        first = enough.int().argmax(dim=1) + 1
        return torch.where(enough.any(dim=1), first, ended)


@dataclass(frozen=True)
class Trace:
    """How samples' predictions among some classes came about, step by step.

    cells: (N, T); boxes: (N, T, 4), a cell's left, top, right and bottom in the scored picture, side × side; rewards:
    (N, T); steps: (N,) that each walk takes; log_probabilities: (N, T + 1, C), from the global prediction on.
    """

    cells: Tensor
    boxes: Tensor
    rewards: Tensor
    steps: Tensor
    log_probabilities: Tensor

    def as_steps(self, offset: int) -> Steps:
        """What figures show of it. offset: pixels by which the scored picture lies within the stored one."""
        best = self.log_probabilities.max(dim=2)
        return Steps(best.indices, best.values.exp(), self.steps, self.boxes + offset)


def walked(network: LocalityNetwork, whole: Tensor, look: Look, choose: Chooser, keep_embeddings: bool = False) -> Walk:
    """The walks of samples whose ē_g, (N, E), and localities are at hand. keep_embeddings: e_j too."""
    count = len(whole)
    steps = network.config.steps if network.cells else 0
    visited = torch.zeros(count, network.cells, dtype=torch.bool, device=whole.device)
    embedding, cells, ratios, places = whole, [], [], []
    for step in range(steps):
        chosen = choose(step, embedding, visited)  # of the last embedding, the state of Eq. 2
        visited.scatter_(1, chosen[:, None], True)
        embedding, ratio = look(chosen)
        cells.append(chosen)
        ratios.append(ratio)
        places.append(embedding)
    global_attributes = network.global_attributes(whole)
    if not steps:
        none = whole.new_zeros(count, 0)
        nothing = whole.new_zeros(count, 0, network.semantics)
        return Walk(none.long(), none, whole, global_attributes, nothing, whole.new_zeros(count, 0, 0))
    embeddings = network.joint_embeddings(whole, torch.stack(places, dim=1))
    return Walk(
        torch.stack(cells, dim=1),
        torch.stack(ratios, dim=1),
        whole,
        global_attributes,
        network.joint_attributes(embeddings),
        embeddings if keep_embeddings else embeddings[:, :0],
    )


def by_policy(policy: LocalityPolicy, count: int, device: torch.device) -> Chooser:
    """The policy's likeliest cells among those not visited yet."""
    hidden = policy.start(count, device)

    def choose(_: int, embedding: Tensor, visited: Tensor) -> Tensor:
        nonlocal hidden
        logits, hidden = policy.logits(embedding, ~visited, hidden)
        return logits.argmax(dim=1)

    return choose


def in_turn(cells: Tensor) -> Chooser:
    """Cells that were drawn before. cells: (N, T)."""
    return lambda step, embedding, visited: cells[:, step]


def drawn_cells(seed: int, places: Iterable[int], cells: int, steps: int) -> Tensor:
    """(N, T) cells without repetition, by a generator that the seed and each sample's place name."""
    drawn = [torch.randperm(cells, generator=generator(seed, "cells", place))[:steps] for place in places]
    return torch.stack(drawn) if drawn else torch.zeros(0, steps, dtype=torch.long)
