import torch

from platform.population.draws import generator
from platform.population.layers import stack_padded, stacked_linear, xavier


def test_stacked_layers_compute_what_each_member_would_alone():
    draw = generator(0)
    x, weight, bias = (torch.randn(3, *shape, generator=draw) for shape in ((6, 4), (4, 5), (1, 5)))
    together = stacked_linear(x, weight, bias)
    for m in range(3):
        torch.testing.assert_close(together[m], torch.nn.functional.linear(x[m], weight[m].T, bias[m, 0]))


def test_padding_changes_neither_outputs_nor_gradients():
    draw = generator(0)
    narrow, wide = torch.randn(4, 2, generator=draw), torch.randn(4, 5, generator=draw)
    weight = stack_padded([narrow, wide]).requires_grad_()
    x = torch.randn(2, 6, 4, generator=draw)
    hidden = stacked_linear(x, weight, torch.zeros(2, 1, 5))
    torch.testing.assert_close(hidden[0, :, :2], x[0] @ narrow)
    assert not hidden[0, :, 2:].any()
    (gradient,) = torch.autograd.grad(hidden.square().sum(), weight)
    assert not gradient[0, :, 2:].any()


def test_matrices_of_any_shapes_are_stacked():
    stacked = stack_padded([torch.ones(2, 3), torch.ones(3, 1), torch.ones(1, 0)])
    assert stacked.shape == (3, 3, 3)
    assert stacked.sum(dim=(1, 2)).tolist() == [6, 3, 0]
    assert stacked[1, :, 0].tolist() == [1, 1, 1]


def test_xavier_fills_its_bounds_evenly():
    weights = xavier(60, 90, 0.5, generator(0))
    bound = 0.5 * (6 / 150) ** 0.5
    assert weights.abs().max() <= bound
    assert weights.abs().max() > 0.99 * bound
    torch.testing.assert_close(weights.var().item(), bound**2 / 3, rtol=0.05, atol=0)
    torch.testing.assert_close(weights, xavier(60, 90, 0.5, generator(0)))
