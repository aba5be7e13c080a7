import torch
from torch.distributions import Normal, kl_divergence

from methods.vae import reconstruction_errors, sampled_latent


def _draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.double)


def test_a_sampled_latent_is_that_of_the_reparameterisation_trick():
    head, noise = _draw(3, 5, 8), _draw(3, 5, 4)
    z, divergence = sampled_latent(head, noise)
    mean, deviation = head[..., :4], (0.5 * head[..., 4:]).exp()
    torch.testing.assert_close(z, mean + deviation * noise)
    expected = kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0)).sum(-1).mean(-1)
    torch.testing.assert_close(divergence, expected)


def test_a_latent_of_width_zero_costs_nothing():
    z, divergence = sampled_latent(torch.zeros(2, 5, 0), torch.zeros(2, 5, 0))
    assert z.shape == (2, 5, 0)
    assert divergence.tolist() == [0, 0]


def test_reconstruction_errors_are_means_over_elements():
    decoded, target = _draw(3, 10, 4), _draw(3, 5, 4, 1)[..., 0]
    errors = reconstruction_errors(decoded, target)
    expected = [[(decoded[m, 5 * k : 5 * k + 5] - target[m]).square().mean() for k in (0, 1)] for m in range(3)]
    torch.testing.assert_close(errors, torch.tensor(expected, dtype=torch.double))


def test_the_gradients_by_hand_are_right():
    head, noise = _draw(2, 3, 6).requires_grad_(), _draw(2, 3, 3)
    assert torch.autograd.gradcheck(lambda h: sampled_latent(h, noise), head)
    decoded, target = _draw(2, 6, 4).requires_grad_(), _draw(2, 3, 4, 1)[..., 0]
    assert torch.autograd.gradcheck(lambda d: reconstruction_errors(d, target), decoded)
