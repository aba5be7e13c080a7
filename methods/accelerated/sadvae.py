"""SA-DVAE's gradients, written by hand: what `methods.sadvae` states, at once for both decodings of a decoder."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from methods.accelerated.vae import Reconstruction, crossed, crossed_gradients, latent_gradient
from methods.vae import Latent
from platform.learning.batch import Batch
from platform.learning.stated import StatedMethod, StatedPopulation
from platform.method import Member
from platform.population.layers import stacked_product
from platform.workers import Workers


class AcceleratedSADVAE(StatedPopulation):
    """SA-DVAE's members."""

    def __init__(self, method: StatedMethod, members: Sequence[Member], workers: Workers) -> None:
        super().__init__(method, members, workers)
        self.z_v = self.layers.widest["z_v"]

    def encode(self, batch: Batch) -> tuple[Latent, Latent]:
        return self.method.encoded(self.layers, batch)

    def differentiate(self, batch: Batch, encoded: tuple[Latent, Latent], weights: Tensor) -> Tensor:
        (latent_x, latent_y), x, y = encoded, batch.x, batch.text
        _, lambda_1, beta_x, beta_y, lambda_2, _ = weights
        for_x, for_y = crossed(latent_x.z, latent_y.z, self.z_v)
        own_and_crossed = torch.stack([torch.ones_like(lambda_1), lambda_1], dim=1)
        error_x, gradient_for_x = self._decode("decoder_x", for_x, x, own_and_crossed)
        error_y, gradient_for_y = self._decode("decoder_y", for_y, y, own_and_crossed)
        gradient_x, gradient_y = crossed_gradients(gradient_for_x, gradient_for_y, self.z_v)
        nothing = torch.zeros_like(lambda_2)
        correlation = nothing
        if "total_correlation" in batch.wanted:
            correlation, gradient = self._total_correlation(latent_x.z, batch.order)
            gradient_x += gradient.mul_(lambda_2[:, None, None])
        self.layers.write_gradients("encoder_x", x, latent_gradient(latent_x, gradient_x, beta_x))
        self.layers.write_gradients("encoder_y", y, latent_gradient(latent_y, gradient_y, beta_y))
        own, cross = (error_x + error_y).unbind(1)
        return torch.stack([own, cross, latent_x.divergence, latent_y.divergence, correlation, nothing])

    def differentiate_adversary(self, batch: Batch, encoded: tuple[Latent, Latent], weight: Tensor) -> Tensor:
        z, order = self.method.pairs(batch, encoded)
        inputs, hidden, logits = self._discriminate(z, order)
        value, gradient_logits = self._log_likelihood(logits)
        gradient_logits *= -0.5 * weight[:, None]
        self.layers.write_gradients("discriminator_2", hidden, gradient_logits[..., None])
        self.layers.write_gradients("discriminator_1", inputs, self._gradient_hidden(hidden, gradient_logits))
        return -0.5 * value

    def _decode(self, layer: str, latents: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """(members, 2) errors of own and cross reconstruction, and the latents' gradient; writes the layer's."""
        decoded = self.layers(layer, latents)
        positive = decoded > 0 if self.config.output_relu else None
        reconstruction = Reconstruction.of(decoded.relu_() if self.config.output_relu else decoded, target)
        gradient = reconstruction.gradient(weight)
        if positive is not None:
            gradient *= positive
        self.layers.write_gradients(layer, latents, gradient)
        return reconstruction.errors, stacked_product(gradient, self.layers.parameters[layer].transpose(1, 2))

    def _total_correlation(self, z_x: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """(members,) what the encoder minimises, L_T of Eq. 6 or the mean of D_T(z_x), and its gradient in z_x."""
        batch = z_x.shape[1]
        _, hidden, logits = self._discriminate(z_x, order)
        if self.config.adversary == "probability":
            value = logits[:, :batch].sigmoid().mean(dim=1)
            probability = logits.sigmoid()
            gradient_logits = probability * (1 - probability) / batch
            gradient_logits[:, batch:] = 0.0
        else:
            value, gradient_logits = self._log_likelihood(logits)
        gradient = stacked_product(
            self._gradient_hidden(hidden, gradient_logits), self.layers.parameters["discriminator_1"].transpose(1, 2)
        )
        gradient_z, altered = gradient[:, :batch], gradient[:, batch:]
        gradient_z[..., self.z_v :] += altered[..., self.z_v :]
        places = order[..., None].expand(-1, -1, self.z_v)
        gradient_z[..., : self.z_v].scatter_add_(1, places, altered[..., : self.z_v])
        return value, gradient_z

    def _discriminate(self, z: Tensor, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """D_T, a two-layer network, on z and then on z̃, in which z^v is another sample's by `order`.

        Gives the input (members, 2·samples, z_v + z_r), the hidden layer and the logits (members, 2·samples).
        """
        z_v = z[..., : self.z_v].gather(1, order[..., None].expand(-1, -1, self.z_v))
        inputs = torch.cat([z, torch.cat([z_v, z[..., self.z_v :]], dim=-1)], dim=1)
        hidden = self.layers("discriminator_1", inputs).relu_()
        return inputs, hidden, self.layers("discriminator_2", hidden).squeeze(-1)

    def _log_likelihood(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """(members,) L_T, a mean over the batch (Eq. 6), and its gradient in the logits."""
        batch = logits.shape[1] // 2
        signed = torch.cat([logits[:, :batch], -logits[:, batch:]], dim=1)
        gradient = torch.sigmoid(-signed).div_(batch)
        gradient[:, batch:].neg_()
        return logsigmoid(signed).sum(dim=1) / batch, gradient

    def _gradient_hidden(self, hidden: Tensor, gradient_logits: Tensor) -> Tensor:
        return gradient_logits[..., None] * self.layers.parameters["discriminator_2"].transpose(1, 2) * (hidden > 0)
