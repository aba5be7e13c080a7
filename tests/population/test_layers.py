import pytest
import torch

from platform.population.draws import generator
from platform.population.layers import (
    StackedLayers,
    stack_padded,
    stacked_linear,
    stacked_product,
    uniform,
    write_linear_gradients,
    xavier,
)

LAYOUT = {"encoder": (("features",), ("own", "shared", "own")), "decoder": (("own", "shared"), ("features",))}
WIDTHS = (
    {"features": 5, "own": 2, "shared": 3},
    {"features": 5, "own": 4, "shared": 1},
    {"features": 5, "own": 0, "shared": 4},
)


def own_weights(seed, widths):
    """A member's own matrices and biases, none of whose elements is zero."""
    draw, weights = generator(seed), {}
    for name, parts in LAYOUT.items():
        rows, columns = (sum(widths[part] for part in side) for side in parts)
        weights[name] = 1 + torch.rand(rows, columns, generator=draw)
        weights[f"{name}_bias"] = 1 + torch.rand(1, columns, generator=draw)
    return weights


@pytest.fixture
def weights():
    return [own_weights(seed, widths) for seed, widths in enumerate(WIDTHS)]


@pytest.fixture
def layers(weights):
    return StackedLayers(LAYOUT, WIDTHS, weights, torch.device("cpu"))


@pytest.mark.parametrize(("rows", "k", "columns"), [(1536, 6, 1), (32, 19, 7), (5, 33, 1)])
def test_a_members_product_does_not_hang_on_where_its_memory_begins(rows, k, columns):
    """In a pack a member's matrices begin anywhere; libraries sum in another order where they are not aligned."""
    draw, threads = generator(0), torch.get_num_threads()
    x, y = torch.randn(3, rows, k, generator=draw), torch.randn(3, rows, columns, generator=draw)
    torch.set_num_threads(1)
    try:
        for i in range(3):
            alone = stacked_product(x[i : i + 1].clone().mT, y[i : i + 1].clone())[0]
            assert torch.equal(stacked_product(x.mT, y)[i], alone)
            bias = y[:, :1]
            own = stacked_linear(x[i : i + 1].clone().mT, y[i : i + 1].clone(), bias[i : i + 1].clone())[0]
            assert torch.equal(stacked_linear(x.mT, y, bias)[i], own)
        shared = x[:, :1].expand(3, rows, k)  # as a gradient of a sum is
        torch.testing.assert_close(stacked_product(shared[1:].mT, y[1:]), shared[1:].mT @ y[1:])
    finally:
        torch.set_num_threads(threads)


def test_what_was_stacked_is_a_members_own_again(layers, weights):
    assert layers.widest == {"features": 5, "own": 4, "shared": 4}
    assert {n: tuple(p.shape) for n, p in layers.parameters.items()} == {
        "encoder": (3, 5, 12),
        "encoder_bias": (3, 1, 12),
        "decoder": (3, 8, 5),
        "decoder_bias": (3, 1, 5),
    }
    for member, own in enumerate(weights):
        again = layers.own(member, layers.parameters)
        assert again.keys() == own.keys()
        assert all(torch.equal(again[name], tensor) for name, tensor in own.items())
    some = {"decoder": layers.parameters["decoder"]}
    assert torch.equal(layers.stacked([layers.own(m, some) for m in range(3)])["decoder"], some["decoder"])


def test_beyond_a_members_widths_all_is_zero(layers, weights):
    for name, parameter in layers.parameters.items():
        for member, own in enumerate(weights):
            assert parameter[member].count_nonzero() == own[name].numel()
    assert not any(gradient.any() for gradient in layers.gradients.values())


def test_parts_of_all_members_stand_at_the_same_places(layers, weights):
    encoder = layers.parameters["encoder"]
    for member, (own, widths) in enumerate(zip(weights, WIDTHS, strict=True)):
        parts = own["encoder"].split([widths[part] for part in LAYOUT["encoder"][1]], dim=1)
        for start, part in zip((0, 4, 8), parts, strict=True):
            assert torch.equal(encoder[member, :, start : start + part.shape[1]], part)


def test_copies_of_a_members_own_do_not_move_with_the_population(layers, weights):
    own = layers.own(1, layers.parameters)
    layers.parameters["encoder"].zero_()
    assert torch.equal(own["encoder"], weights[1]["encoder"])


def passed(layers, x):
    """What an autoencoder of both layers makes of x; its gradients are those of half the squared error."""
    hidden = layers("encoder", x)
    latent = hidden[..., : layers.widest["own"] + layers.widest["shared"]]
    decoded = layers("decoder", latent)
    layers.write_gradients("decoder", latent, decoded - x)
    gradient = (decoded - x) @ layers.parameters["decoder"].transpose(1, 2)
    beyond = torch.zeros_like(hidden[..., gradient.shape[-1] :])
    layers.write_gradients("encoder", x, torch.cat([gradient, beyond], dim=-1))
    return decoded


def test_a_member_computes_in_any_company_what_it_would_alone(layers, weights):
    x = torch.randn(3, 6, 5, generator=generator("x"))
    decoded = passed(layers, x)
    for member, (own, widths) in enumerate(zip(weights, WIDTHS, strict=True)):
        alone = StackedLayers(LAYOUT, [widths], [own], torch.device("cpu"))
        torch.testing.assert_close(decoded[member], passed(alone, x[[member]])[0], rtol=1e-4, atol=1e-5)
        gradients = layers.own(member, layers.gradients)
        assert all(gradient.any() for name, gradient in gradients.items())
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, alone.gradients[name][0], rtol=1e-4, atol=1e-5)
    for name, gradient in layers.gradients.items():  # none beyond a member's widths
        assert torch.equal(layers.stacked([layers.own(m, {name: gradient}) for m in range(3)])[name], gradient)


def test_a_linear_layers_gradients_are_written():
    draw = generator(0)
    x, gradient = torch.randn(2, 3, 5, generator=draw), torch.randn(2, 3, 4, generator=draw)
    weight, bias = torch.zeros(2, 5, 4).requires_grad_(), torch.zeros(2, 1, 4).requires_grad_()
    expected = torch.autograd.grad((gradient * torch.baddbmm(bias, x, weight)).sum(), (weight, bias))
    written = torch.full((2, 5, 4), torch.nan), torch.full((2, 1, 4), torch.nan)
    write_linear_gradients(x, gradient, *written)
    for got, right in zip(written, expected, strict=True):
        torch.testing.assert_close(got, right)
    write_linear_gradients(x, gradient, *written, add=True)
    for got, right in zip(written, expected, strict=True):
        torch.testing.assert_close(got, 2 * right)


@pytest.mark.parametrize("shape", [(32, 256, 336), (32, 64, 1), (64, 16, 16)])
def test_a_members_product_is_the_same_bit_by_bit_at_any_pack_size(shape):
    rows, inner, columns = shape
    draw = generator(shape)
    x, y = torch.randn(6, rows, inner, generator=draw), torch.randn(6, inner, columns, generator=draw)
    together, written = stacked_product(x, y), torch.empty(6, rows, columns)
    torch.testing.assert_close(together, torch.bmm(x, y))
    assert stacked_product(x, y, out=written) is written
    assert torch.equal(written, together)
    assert torch.equal(stacked_product(x[0], y[0]), together[0])
    assert all(torch.equal(stacked_product(x[:count], y[:count]), together[:count]) for count in (1, 2, 5))


def test_a_stacked_product_is_differentiated():
    draw = generator(1)
    x, y = (torch.randn(3, *shape, generator=draw).requires_grad_() for shape in ((4, 5), (5, 2)))
    gradients = [torch.autograd.grad(product(x, y).square().sum(), (x, y)) for product in (stacked_product, torch.bmm)]
    for got, right in zip(*gradients, strict=True):
        torch.testing.assert_close(got, right)


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


def test_uniform_starts_as_pytorchs_linear_layers_do():
    matrix, bias = uniform(64, 64, 90, generator(0)), uniform(64, 1, 90, generator(1))
    assert (matrix.shape, bias.shape) == ((64, 90), (1, 90))
    for own in (matrix, bias):
        assert own.abs().max() <= 1 / 8
        assert own.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.2)
    linear = torch.nn.Linear(64, 90)
    assert max(linear.weight.abs().max(), linear.bias.abs().max()) <= 1 / 8
