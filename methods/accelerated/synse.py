"""SynSE's gradients, written by hand: what `methods.synse` states, at once for both decodings of a decoder."""

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.accelerated.vae import Reconstruction, crossed, crossed_gradients, latent_gradient
from methods.vae import Latent
from platform.learning.batch import Batch
from platform.learning.stated import StatedMethod, StatedPopulation
from platform.method import Member
from platform.population.layers import stacked_product
from platform.workers import Workers


class AcceleratedSynSE(StatedPopulation):
    """SynSE's members."""

    def __init__(self, method: StatedMethod, members: Sequence[Member], workers: Workers) -> None:
        super().__init__(method, members, workers)
        relu = torch.tensor([c.output_relu for c in self.configs], device=self.device)[:, None, None]
        self.without_relu = ~relu if relu.any() else None
        self.elements = {kind: self._elements(kind) for kind in ("features", "text")}

    def encode(self, batch: Batch) -> tuple[Latent, list[Latent]]:
        return self.method.encoded(self.layers, batch)

    def differentiate(self, batch: Batch, encoded: tuple[Latent, list[Latent]], weights: Tensor) -> Tensor:
        (latent_s, latents_y), x, crossing = encoded, batch.x, "cross_reconstruction" in batch.wanted
        _, alpha, beta_s, beta_y = weights
        parts = [name.removeprefix("decoder_") for name in self.layout if name.startswith("decoder_")][1:]
        widths, texts = [latent.z.shape[-1] for latent in latents_y], batch.text.chunk(len(parts), dim=-1)
        for_s, for_y = latent_s.z, torch.cat([latent.z for latent in latents_y], dim=-1)
        if crossing:
            for_s, for_y = crossed(for_s, for_y, 0)
        own_and_crossed = torch.stack([torch.ones_like(alpha), alpha], dim=1)[:, : 1 + crossing]
        errors, gradient_s = self._decode("decoder_s", for_s, x, own_and_crossed, self.elements["features"])
        gradients_y = []
        for part, text, latent in zip(parts, texts, for_y.split(widths, dim=-1), strict=True):
            error, gradient = self._decode(f"decoder_{part}", latent, text, own_and_crossed, self.elements["text"])
            errors = errors + error
            gradients_y.append(gradient)
        gradient_y = torch.cat(gradients_y, dim=-1)
        if crossing:
            gradient_s, gradient_y = crossed_gradients(gradient_s, gradient_y, 0)
        self.layers.write_gradients("encoder_s", x, latent_gradient(latent_s, gradient_s, beta_s))
        for part, text, latent, gradient in zip(parts, texts, latents_y, gradient_y.split(widths, dim=-1), strict=True):
            self.layers.write_gradients(f"encoder_{part}", text, latent_gradient(latent, gradient, beta_y))
        own, cross = errors[:, 0], errors[:, 1] if crossing else torch.zeros_like(alpha)
        return torch.stack([own, cross, latent_s.divergence, sum(latent.divergence for latent in latents_y)])

    def _elements(self, kind: str) -> Tensor:
        """(members, 1) what turns a mean over elements into a member's error."""
        sums = [c.reconstruction == "sum" for c in self.configs]
        own = [[float(w[kind]) if is_sum else 1.0] for w, is_sum in zip(self.widths, sums, strict=True)]
        return torch.tensor(own, device=self.device)

    def _decode(
        self, layer: str, latents: Tensor, target: Tensor, weight: Tensor, elements: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(members, k) errors of k decodings of one target, and the latents' gradient; writes the layer's gradients.

        latents: (members, k·batch, z), batch after batch; weight: (members, k).
        """
        decoded = self.layers(layer, latents)
        kept = None
        if self.without_relu is not None:
            kept = (decoded > 0) | self.without_relu
            decoded *= kept
        reconstruction = Reconstruction.of(decoded, target)
        gradient = reconstruction.gradient(weight * elements)
        if kept is not None:
            gradient *= kept
        self.layers.write_gradients(layer, latents, gradient)
        return reconstruction.errors * elements, stacked_product(
            gradient, self.layers.parameters[layer].transpose(1, 2)
        )
