import pytest
import torch

from platform.population.adam import PopulationAdam
from platform.population.draws import generator

RATES = (1e-3, 0.1, 3.0)
SHAPES = {"weight": (3, 4, 5), "bias": (3, 1, 5)}
INACTIVE = {2: [1], 4: [0, 1], 5: [0, 1, 2]}  # step to the members that sit it out


def drawn(seed):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw) for shape in SHAPES.values()]


def population(on_cpu, **options):
    adam = PopulationAdam(dict(zip(SHAPES, drawn(0), strict=True)), RATES, **options)
    adam.on_cpu = on_cpu  # False: the path that an accelerator takes
    return adam


def active(step):
    return torch.tensor([m not in INACTIVE.get(step, []) for m in range(3)])


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("on_cpu", [True, False])
def test_each_member_is_updated_as_by_an_adam_of_its_own(on_cpu, amsgrad):
    adam = population(on_cpu, amsgrad=amsgrad)
    alone = [[p[m].clone().requires_grad_() for p in drawn(0)] for m in range(3)]
    optimisers = [
        torch.optim.Adam(parameters, lr, amsgrad=amsgrad) for parameters, lr in zip(alone, RATES, strict=True)
    ]
    for step in range(8):
        gradients = [g * 0.1**step for g in drawn(step + 1)]  # so that the largest moment is not the last
        adam.step(gradients, active(step))
        for m in active(step).nonzero().flatten().tolist():
            for parameter, gradient in zip(alone[m], gradients, strict=True):
                parameter.grad = gradient[m]
            optimisers[m].step()
    for m in range(3):
        for together, own in zip(adam.parameters.values(), alone[m], strict=True):
            torch.testing.assert_close(together[m], own.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("on_cpu", [True, False])
def test_without_a_mask_all_take_part(on_cpu):
    masked, unmasked = population(on_cpu), population(on_cpu)
    masked.step(drawn(1), torch.ones(3, dtype=torch.bool))
    unmasked.step(drawn(1))
    assert torch.equal(masked.parameters["weight"], unmasked.parameters["weight"])


@pytest.mark.parametrize("on_cpu", [True, False])
def test_an_inactive_member_stays_bit_for_bit(on_cpu):
    adam = population(on_cpu)
    adam.step(drawn(1))
    before = {n: t[1].clone() for n, t in (adam.parameters | adam.mean | adam.square).items()}
    adam.step(drawn(2), torch.tensor([True, False, True]))
    assert all(torch.equal(t[1], before[n]) for n, t in (adam.parameters | adam.mean | adam.square).items())
    assert adam.steps[0].tolist() == [2, 1, 2]


@pytest.mark.parametrize("on_cpu", [True, False])
def test_a_member_with_gradients_that_are_not_finite_harms_no_other(on_cpu):
    sound, harmed = population(on_cpu), population(on_cpu)
    for step in range(3):
        gradients = drawn(step + 1)
        sound.step(gradients)
        for gradient in gradients:
            gradient[0] = torch.nan
        harmed.step(gradients)
    assert harmed.parameters["weight"][0].isnan().all()
    assert torch.equal(harmed.parameters["weight"][1:], sound.parameters["weight"][1:])


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("on_cpu", [True, False])
def test_a_loaded_state_goes_on_with_the_same_numbers(on_cpu, amsgrad):
    adam, other = population(on_cpu, amsgrad=amsgrad), population(on_cpu, amsgrad=amsgrad)
    adam.step(drawn(1), active(2))
    other.load({name: tensor.clone() for name, tensor in adam.state.items()})
    for name, parameter in other.parameters.items():
        parameter.copy_(adam.parameters[name])
    adam.step(drawn(2))
    other.step(drawn(2))
    assert all(torch.equal(p, adam.parameters[n]) for n, p in other.parameters.items())


def test_rates_can_change_between_steps():
    draw = generator(0, "gradient")
    gradient = torch.randn(2, 3, 1, generator=draw)
    parameters = {"w": torch.zeros(2, 3, 1)}
    adam = PopulationAdam(parameters, [1e-1, 1e-2])
    adam.set_rates([0.0, 1e-3])
    adam.step([gradient])
    assert not parameters["w"][0].any()
    torch.testing.assert_close(parameters["w"][1], -1e-3 * gradient[1].sign(), rtol=1e-3, atol=0)
    adam.on_cpu = False  # the path of a GPU
    adam.set_rates([1e-3, 0.0])
    before = parameters["w"][1].clone()
    adam.step([gradient])
    assert parameters["w"][0].abs().min() > 0
    torch.testing.assert_close(parameters["w"][1], before)
