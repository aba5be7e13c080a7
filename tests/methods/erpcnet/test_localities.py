import pytest
import torch
from torch.nn import functional

from methods.erpcnet.localities import all_crops, boxes, cells, crops
from platform.population.draws import generator


@pytest.fixture(scope="module")
def maps():
    return torch.randn(3, 4, 7, 6, generator=generator(0, "maps")).relu()


def test_the_papers_map_has_four_by_four_cells():
    assert cells((14, 14), kernel=5, stride=3, padding=0) == (4, 4)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (5, 3, 2), (2, 1, 0), (3, 3, 1)])
def test_a_crop_is_what_a_convolution_sees_at_the_cell(maps, kernel, stride, padding):
    weight = torch.randn(5, 4, kernel, kernel, generator=generator(0, "kernel"))
    whole = functional.conv2d(maps, weight, stride=stride, padding=padding)
    rows, columns = cells((7, 6), kernel, stride, padding)
    assert whole.shape[2:] == (rows, columns)
    every = all_crops(maps, kernel, stride, padding)
    assert every.shape == (3, rows * columns, 4, kernel, kernel)
    torch.testing.assert_close(torch.einsum("ngcij,dcij->ndg", every, weight), whole.flatten(2))
    chosen = torch.tensor([0, rows * columns - 1, columns])
    assert torch.equal(crops(maps, chosen, kernel, stride, padding), every[torch.arange(3), chosen])


def test_boxes_are_the_cells_on_the_image_and_end_at_its_border():
    given = {"side": (14, 14), "image": (224, 112), "kernel": 5, "stride": 3}
    found = boxes(torch.tensor([0, 1, 4, 15]), padding=0, **given)
    assert found.tolist() == [[0, 0, 40, 80], [24, 0, 64, 80], [0, 48, 40, 128], [72, 144, 112, 224]]
    assert boxes(torch.tensor([0]), padding=1, **given).tolist() == [[0, 0, 32, 64]]
