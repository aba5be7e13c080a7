"""A trained ERPCNet: pictures are walked through, and recognised where each walk ends."""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from methods.erpcnet.config import ERPCNetConfig
from methods.erpcnet.network import LocalityNetwork, network_of
from methods.erpcnet.pictures import centred, in_batches, normalised, offset_of_centre, stored_side
from methods.erpcnet.policy import LocalityPolicy
from methods.erpcnet.walks import Trace, Walk, by_policy, drawn_cells, in_turn, walked
from platform.datasets.encoded_pictures import EncodedPictures
from platform.method import MethodConfig, Model, tensors_of
from platform.zeroshot.steps import Steps

Pictures = Tensor | EncodedPictures  # (N, 3 · S · S) uint8, or what stands where (N, 3, S, S) would

_SCORED_AT_ONCE = 64  # pictures


@dataclass(frozen=True)
class ERPCNetModel(Model):
    """A trained ERPCNet of one member.

    weights: the network's by name; policy: the sampler's, empty before stage II; semantics: (C, A) of all classes, seen
    first. Log-probabilities are of āᵀφ, over the unseen classes, the seen ones, or all: the two blocks of one whole.
    """

    Config: ClassVar[type[MethodConfig]] = ERPCNetConfig

    config: ERPCNetConfig
    seed: int
    weights: dict[str, Tensor] = field(repr=False)
    policy: dict[str, Tensor] = field(repr=False)
    semantics: Tensor = field(repr=False)

    @property
    def learns_seen_classes(self) -> bool:
        return True

    def unseen_scores(self, x: Pictures) -> Tensor:
        return self._scores(x, self.semantics[len(self.seen) :])

    def seen_scores(self, x: Pictures) -> Tensor:
        return self._scores(x, self.semantics[: len(self.seen)])

    def sides(self, x: Pictures) -> tuple[Tensor, Tensor]:
        if self.config.combination not in ("stacking", "joint"):
            return super().sides(x)
        scores = self._scores(x, self.semantics)
        return scores[:, : len(self.seen)], scores[:, len(self.seen) :]

    def latents(self, x: Pictures) -> dict[str, Tensor]:
        """ē_g, and ē_u = ē_g + e_j as the walk among all classes ends (Fig. 9)."""
        walk = self._walks(x, keep_embeddings=True)
        if not walk.cells.shape[1]:
            return {"global": walk.whole}
        last = walk.ends(self.semantics, self._sigma, self.config.entropy) - 1
        joint = walk.joint_embeddings[torch.arange(len(last), device=last.device), last]
        same = joint.shape[1] == walk.whole.shape[1]
        return {"global": walk.whole, "union": walk.whole + joint if same else torch.cat([walk.whole, joint], dim=1)}

    def trace(self, x: Pictures, classes: Literal["unseen", "seen", "all"] = "unseen") -> Trace:
        """How samples are recognised among some classes, step by step."""
        walk, seen = self.walk(x), len(self.seen)
        semantics = {"unseen": self.semantics[seen:], "seen": self.semantics[:seen], "all": self.semantics}[classes]
        entropy = self.config.entropy
        return Trace(
            walk.cells,
            self._network.boxes(walk.cells),
            walk.rewards(semantics, entropy),
            walk.ends(semantics, self._sigma, entropy),
            walk.predictions(semantics),
        )

    def steps(self, x: Pictures) -> Steps | None:
        """What was predicted after each locality (Fig. 4 – 6 and 10, Table 3); None where there is no local subnet."""
        trace = self.trace(x)
        if not trace.cells.shape[1]:
            return None
        side = self.config.side
        return trace.as_steps(offset_of_centre(stored_side(x, side), side))

    def __getstate__(self) -> dict[str, Any]:
        """Without what scoring keeps."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def walk(self, x: Pictures) -> Walk:
        """The walks of samples, all T steps of them; the last x's are kept, since several scores read them."""
        kept, version = self._kept, _version(x)
        if not (kept and kept["x"]() is x and kept["version"] == version):
            kept |= {"x": weakref.ref(x), "version": version, "walk": self._walks(x)}
        return kept["walk"]

    def with_classes(self, names: Sequence[str], semantics: Tensor) -> Self:
        semantics = self.as_wide(semantics, self.semantics)
        return replace(self, unseen=tuple(names), semantics=torch.cat([self.semantics[: len(self.seen)], semantics]))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"weights.{name}": tensor for name, tensor in self.weights.items()}
        tensors |= {f"policy.{name}": tensor for name, tensor in self.policy.items()}
        return tensors | {"semantics": self.semantics}, {"config": self.config.model_dump(), "seed": self.seed}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Self:
        return cls(
            seen=tuple(values["seen"]),
            unseen=tuple(values["unseen"]),
            combination=values["combination"],
            config=ERPCNetConfig(**values["config"]),
            seed=values["seed"],
            weights=tensors_of(tensors, "weights"),
            policy=tensors_of(tensors, "policy"),
            semantics=tensors["semantics"],
        )

    def _scores(self, x: Pictures, semantics: Tensor) -> Tensor:
        """(N, C) log-probabilities among classes of semantics (C, A), as each walk ends."""
        walk = self.walk(x)
        ends = walk.ends(semantics, self._sigma, self.config.entropy)
        return walk.predictions(semantics)[torch.arange(len(ends), device=ends.device), ends]

    def _walks(self, x: Pictures, keep_embeddings: bool = False) -> Walk:
        stored_side(x, self.config.side)  # raises where they are no pictures
        batches = torch.arange(len(x)).split(_SCORED_AT_ONCE)  # of no samples an empty one
        with torch.no_grad():
            walks = [
                self._walk(stored, rows, keep_embeddings)
                for rows, stored in zip(batches, in_batches(x, batches), strict=True)
            ]
        return Walk.joined(walks)

    def _walk(self, stored: Tensor, rows: Tensor, keep_embeddings: bool) -> Walk:
        """Of one batch, (n, 3, S, S). rows: (n,), where its samples stand among those scored."""
        network = self._network
        maps, whole = network.embedded(normalised(centred(stored, self.config.side).to(self.semantics.device)))
        if self.policy:
            choose = by_policy(self._policy, len(rows), whole.device)
        else:
            steps = self.config.steps if network.cells else 0
            choose = in_turn(drawn_cells(self.seed, rows.tolist(), network.cells, steps).to(whole.device))
        return walked(network, whole, lambda chosen: network.looked(maps, chosen), choose, keep_embeddings)

    @property
    def _sigma(self) -> float | None:
        """Only a policy's walk ends early."""
        return self.config.sigma if self.policy else None

    @cached_property
    def _network(self) -> LocalityNetwork:
        return network_of(self.config, self.semantics.shape[1], self.weights).requires_grad_(False).eval()

    @cached_property
    def _policy(self) -> LocalityPolicy:
        return LocalityPolicy(self.policy, self.config.policy_sigmoid)

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return {}


def _version(x: Pictures) -> int | None:
    """Another one once the values have changed, None where that cannot be told."""
    return None if isinstance(x, EncodedPictures) or x.is_inference() else x._version
