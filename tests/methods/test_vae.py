import torch
from torch.distributions import Normal, kl_divergence

from methods.accelerated.vae import Distance, Reconstruction, by_variance, crossed, crossed_gradients, latent_gradient
from methods.vae import Latent


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _gradients(loss: torch.Tensor, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(loss, inputs)


def test_a_latent_is_that_of_the_reparameterisation_trick():
    head, noise, weight = _draw(3, 5, 8).requires_grad_(), _draw(3, 5, 4, seed=1), torch.tensor([0.5, 0.0, 2.0])
    mean, deviation = head[..., :4], (0.5 * head[..., 4:]).exp()
    z, divergence = mean + deviation * noise, kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0)).sum(-1).mean(-1)
    latent = Latent.sample(head.detach(), noise)
    torch.testing.assert_close(latent.z, z)
    torch.testing.assert_close(latent.divergence, divergence)
    gradient_z = _draw(3, 5, 4, seed=2)
    expected = _gradients((gradient_z * z).sum() + (weight * divergence).sum(), head)[0]
    torch.testing.assert_close(latent_gradient(latent, gradient_z, weight), expected)


def test_a_latent_of_width_zero_costs_nothing():
    latent = Latent.sample(torch.zeros(2, 5, 0), torch.zeros(2, 5, 0))
    assert latent.z.shape == (2, 5, 0)
    assert latent.divergence.tolist() == [0, 0]


def test_a_latent_by_variance_spreads_by_the_squared_deviation():
    head, noise, chosen = _draw(3, 5, 8).requires_grad_(), _draw(3, 5, 4, seed=1), torch.tensor([True, False, True])
    mean, logvar = head.chunk(2, dim=-1)
    z = mean + torch.where(chosen[:, None, None], logvar.exp(), (0.5 * logvar).exp()) * noise
    divergence = kl_divergence(Normal(mean, (0.5 * logvar).exp()), Normal(0.0, 1.0)).sum(-1).mean(-1)
    latent = by_variance(Latent.sample(head.detach(), noise), chosen)
    torch.testing.assert_close(latent.z, z)
    torch.testing.assert_close(latent.divergence, divergence)
    gradient_z, weight = _draw(3, 5, 4, seed=2), torch.tensor([0.5, 0.0, 2.0])
    expected = _gradients((gradient_z * z).sum() + (weight * divergence).sum(), head)[0]
    torch.testing.assert_close(latent_gradient(latent, gradient_z, weight), expected)


def test_the_distance_is_the_2_wasserstein_distance_of_normal_distributions():
    heads, weight = [_draw(2, 5, 6, seed=s).requires_grad_() for s in (0, 1)], torch.tensor([0.5, 2.0])
    (mean, spread), (other, of_other) = [(h[..., :3], (0.5 * h[..., 3:]).exp()) for h in heads]
    expected = ((mean - other).square() + (spread - of_other).square()).sum(-1).sqrt().mean(-1)
    first, second = (Latent.sample(h.detach(), torch.zeros(2, 5, 3)) for h in heads)
    distance = Distance.between(first, second)
    torch.testing.assert_close(distance.value, expected)
    gradients = _gradients((weight * expected).sum(), *heads)
    for got, right in zip(distance.gradients(first, second, weight), gradients, strict=True):
        torch.testing.assert_close(got, right)


def test_the_distance_of_equal_distributions_has_no_gradient():
    latent = Latent.sample(_draw(2, 5, 6), torch.zeros(2, 5, 3))
    distance = Distance.between(latent, latent)
    assert distance.value.tolist() == [0, 0]
    assert not any(gradient.any() for gradient in distance.gradients(latent, latent, torch.ones(2)))


def test_absolute_errors_stand_beside_squared_ones():
    decoded, target, weight = _draw(3, 10, 4).requires_grad_(), _draw(3, 5, 4, seed=1), _draw(3, 2, seed=2)
    difference = decoded.view(3, 2, 5, 4) - target[:, None]
    absolute = torch.tensor([True, False, True])
    errors = torch.where(absolute[:, None], difference.abs().mean((2, 3)), difference.square().mean((2, 3)))
    reconstruction = Reconstruction.of(decoded.detach().clone(), target, absolute)
    torch.testing.assert_close(reconstruction.errors, errors)
    torch.testing.assert_close(reconstruction.gradient(weight), _gradients((weight * errors).sum(), decoded)[0])


def test_reconstruction_errors_are_means_over_elements():
    decoded, target, weight = _draw(3, 10, 4).requires_grad_(), _draw(3, 5, 4, seed=1), _draw(3, 2, seed=2)
    errors = (decoded.view(3, 2, 5, 4) - target[:, None]).square().mean(dim=(2, 3))
    reconstruction = Reconstruction.of(decoded.detach().clone(), target)
    torch.testing.assert_close(reconstruction.errors, errors)
    torch.testing.assert_close(reconstruction.gradient(weight), _gradients((weight * errors).sum(), decoded)[0])


def test_crossed_latents_change_all_but_the_own_columns():
    z_x, z_y = _draw(2, 3, 5).requires_grad_(), _draw(2, 3, 4, seed=1).requires_grad_()
    for_x, for_y = crossed(z_x, z_y, 1)
    torch.testing.assert_close(for_x, torch.cat([z_x, torch.cat([z_x[..., :1], z_y], -1)], 1))
    torch.testing.assert_close(for_y, torch.cat([z_y, z_x[..., 1:]], 1))
    gradient_x, gradient_y = _draw(2, 6, 5, seed=2), _draw(2, 6, 4, seed=3)
    expected = _gradients((gradient_x * for_x).sum() + (gradient_y * for_y).sum(), z_x, z_y)
    for got, right in zip(crossed_gradients(gradient_x.clone(), gradient_y, 1), expected, strict=True):
        torch.testing.assert_close(got, right)
