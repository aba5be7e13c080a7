"""CADA-VAE's gradients, written by hand: what `methods.cadavae` states, at once for both decodings of a decoder."""

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.accelerated.vae import Distance, Reconstruction, by_variance, crossed, crossed_gradients, latent_gradient
from methods.vae import Latent
from platform.learning.batch import Batch
from platform.learning.stated import StatedMethod, StatedPopulation
from platform.method import Member
from platform.population.layers import stacked_product
from platform.workers import Workers

Encoded = tuple[dict[str, Latent], dict[str, Tensor]]  # latents and hidden layers of both encoders, by modality


class AcceleratedCADAVAE(StatedPopulation):
    """CADA-VAE's members."""

    def __init__(self, method: StatedMethod, members: Sequence[Member], workers: Workers) -> None:
        super().__init__(method, members, workers)
        self.hidden = self.config.hidden
        self.absolute = self._where([c.reconstruction == "l1" for c in self.configs])
        self.by_variance = self._where([c.deviation == "released" for c in self.configs])
        self.elements = {kind: self._elements(kind) for kind in ("features", "text")}

    def encode(self, batch: Batch) -> Encoded:
        latents, hidden = {}, {}
        for modality, inputs, own in zip("xy", (batch.x, batch.text), batch.noise.chunk(2, dim=-1), strict=True):
            hidden[modality] = self._hidden(f"encoder_{modality}", inputs)
            latent = Latent.sample(self.layers(f"encoder_{modality}_2", hidden[modality]), own)
            latents[modality] = latent if self.by_variance is None else by_variance(latent, self.by_variance)
        return latents, hidden

    def differentiate(self, batch: Batch, encoded: Encoded, weights: Tensor) -> Tensor:
        (latents, hidden), x, y = encoded, batch.x, batch.text
        crossing, near = "cross_reconstruction" in batch.wanted, "distance" in batch.wanted
        _, gamma, beta, _, delta = weights
        for_x, for_y = latents["x"].z, latents["y"].z
        if crossing:
            for_x, for_y = crossed(for_x, for_y, 0)
        own_and_crossed = torch.stack([torch.ones_like(gamma), gamma], dim=1)[:, : 1 + crossing]
        errors_x, gradient_x = self._decode("decoder_x", for_x, x, own_and_crossed, self.elements["features"])
        errors_y, gradient_y = self._decode("decoder_y", for_y, y, own_and_crossed, self.elements["text"])
        if crossing:
            gradient_x, gradient_y = crossed_gradients(gradient_x, gradient_y, 0)
        gradients = {
            "x": latent_gradient(latents["x"], gradient_x, beta),
            "y": latent_gradient(latents["y"], gradient_y, beta),
        }
        nothing = torch.zeros_like(beta)
        apart = nothing
        if near:
            distance = Distance.between(latents["x"], latents["y"])
            apart = torch.where(delta > 0, distance.value, nothing)
            for modality, gradient in zip("xy", distance.gradients(latents["x"], latents["y"], delta), strict=True):
                gradients[modality] += gradient
        for modality, inputs in zip("xy", (x, y), strict=True):
            self._write(f"encoder_{modality}", inputs, hidden[modality], gradients[modality])
        errors = errors_x + errors_y
        cross = torch.where(gamma > 0, errors[:, 1], nothing) if crossing else nothing
        return torch.stack([errors[:, 0], cross, latents["x"].divergence, latents["y"].divergence, apart])

    def _where(self, chosen: Sequence[bool]) -> Tensor | None:
        """(members,) bool; None where it is nobody."""
        return torch.tensor(chosen, device=self.device) if any(chosen) else None

    def _elements(self, kind: str) -> Tensor:
        """(members, 1) what turns a mean over elements into a member's error."""
        own = [1.0 if c.reconstruction == "mean" else float(w[kind])
               for c, w in zip(self.configs, self.widths, strict=True)]  # fmt: skip
        return torch.tensor(own, device=self.device)[:, None]

    def _hidden(self, network: str, inputs: Tensor) -> Tensor:
        return self.layers(f"{network}_1", inputs).relu_() if self.hidden else inputs

    def _write(self, network: str, inputs: Tensor, hidden: Tensor, gradient: Tensor) -> Tensor | None:
        """Write a network's gradients from the gradient of what it gave; gives that of its hidden layer's logits."""
        self.layers.write_gradients(f"{network}_2", hidden, gradient)
        if not self.hidden:
            return None
        gradient = stacked_product(gradient, self.layers.parameters[f"{network}_2"].transpose(1, 2)).mul_(hidden > 0)
        self.layers.write_gradients(f"{network}_1", inputs, gradient)
        return gradient

    def _decode(
        self, network: str, latents: Tensor, target: Tensor, weight: Tensor, elements: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(members, k) errors of k decodings of one target, and the latents' gradient; writes the network's gradients.

        latents: (members, k·batch, z), batch after batch; weight: (members, k); elements: (members, 1).
        """
        hidden = self._hidden(network, latents)
        reconstruction = Reconstruction.of(self.layers(f"{network}_2", hidden), target, self.absolute)
        gradient = reconstruction.gradient(weight * elements)
        first = self._write(network, latents, hidden, gradient)
        gradient, layer = (gradient, f"{network}_2") if first is None else (first, f"{network}_1")
        return reconstruction.errors * elements, stacked_product(
            gradient, self.layers.parameters[layer].transpose(1, 2)
        )
