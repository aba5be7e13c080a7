import pytest
import torch
from made_erpcnet import network, some_pictures

from methods.erpcnet.losses import losses


def test_the_partial_convolution_starts_as_an_average_and_reads_one_cell():
    net = network(padding=1, steps=3)
    maps = net.embedded(some_pictures(2)[0])[0]
    assert net.grid == (4, 4)
    everywhere = net.partial(maps)  # the convolution at all cells
    torch.testing.assert_close(everywhere, torch.nn.functional.avg_pool2d(maps, 2, 1, padding=1))
    torch.nn.init.normal_(net.partial.weight)
    everywhere = net.partial(maps).flatten(2)
    net.extractor = torch.nn.Identity()
    own = net.local(net.cropped(maps, torch.tensor([5, 14])))
    torch.testing.assert_close(own, torch.stack([everywhere[0, :, 5], everywhere[1, :, 14]]), rtol=1e-4, atol=1e-4)
    net.width = own.shape[1]
    places, ratios = net.everywhere(maps)
    torch.testing.assert_close(places[1, 14], own[1], rtol=1e-4, atol=1e-4)
    looked, ratio = net.looked(maps, torch.tensor([5, 14]))
    torch.testing.assert_close(looked, own)
    torch.testing.assert_close(ratio, torch.stack([ratios[0, 5], ratios[1, 14]]))


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0", "squeezenet1_1"])
def test_the_local_extractor_starts_as_the_last_block_and_goes_its_own_way(name):
    net = network(backbone=name, kernel=1, steps=2)
    for own, last in zip(net.extractor.parameters(), net.last.parameters(), strict=True):
        assert torch.equal(own, last)
        assert own is not last
    x, labels, text = some_pictures()
    whole = net.eval().embedded(x)[1]
    assert whole.shape == (3, net.width) == (3, 512)
    losses(net.train(), x, labels, text, torch.tensor([[0, 1]] * 3))[0].sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_frozen_blocks_keep_their_weights_and_statistics():
    net = network(backbone="resnet18", frozen_blocks=3, kernel=1, steps=2)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x, labels, text = some_pictures()
    losses(net.train(), x, labels, text, torch.tensor([[0, 1]] * 3))[0].sum().backward()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    for name, tensor in net.state_dict().items():
        frozen = name.startswith(("before.0", "before.1", "before.2"))
        moves = not name.endswith("num_batches_tracked") and tensor.is_floating_point()
        assert torch.equal(tensor, before[name]) == frozen or not moves, name


@pytest.mark.parametrize(
    "values",
    [
        {"side": 224, "kernel": 5, "stride": 3},
        {"side": 128, "kernel": 3, "stride": 2},
        {"side": 96, "kernel": 2, "stride": 1, "backbone": "squeezenet1_0"},  # maps of 5 × 5
        {"side": 100, "kernel": 3, "stride": 2, "padding": 1},
    ],
)
def test_patches_of_the_image_lie_as_the_cells_do(values):
    kinds = {"backbone": "resnet18", **values}
    maps, image = (network(crops=crops, **kinds) for crops in ("maps", "image"))
    assert maps.grid == image.grid
    corner = torch.tensor([[maps.cells - 1]])
    torch.testing.assert_close(image.boxes(corner), maps.boxes(corner), atol=0.03 * values["side"], rtol=0.0)


def test_boxes_are_where_the_cells_are_in_the_picture():
    net = network(backbone="resnet18", side=64, kernel=2, stride=2, padding=0)  # maps of 4 × 4
    assert net.boxes(torch.tensor([[0, 1, 2]])).tolist() == [[[0, 0, 32, 32], [32, 0, 64, 32], [0, 32, 32, 64]]]
    patches = network(crops="image", patch=40, kernel=2, stride=1)  # 20 pixels from one to the next
    assert patches.grid == (2, 2)
    assert patches.boxes(torch.tensor([[3]])).tolist() == [[[20, 20, 60, 60]]]
