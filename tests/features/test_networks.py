import pytest
import torch

from platform.features.extractors import EXTRACTORS, find_extractor
from platform.features.graph import spatial_configuration
from platform.features.shift import TemporalShift
from platform.features.shiftgcn import ShiftGCN
from platform.features.stgcn import STGCN, _GraphConvolution


def network(name, layout="kinect_v1", classes=4, **options):
    torch.manual_seed(0)
    extractor = find_extractor(name)
    return extractor.build(extractor.configure({"frames": 8, **options}), classes, layout)


def bodies(count, layout, missing=(), bodies=2, frames=8):
    """(N, 3, T, V, M); missing: (clip, body) pairs of zeros."""
    joints = {"kinect_v1": 20, "kinect_v2": 25}[layout]
    x = torch.randn(count, 3, frames, joints, bodies, generator=torch.Generator().manual_seed(1))
    for place in missing:
        x[place[0], :, :, :, place[1]] = 0
    return x


def warmed(network, layout):
    """With running statistics other than those of the start."""
    network.train()
    with torch.no_grad():
        network(bodies(4, layout, bodies=network.bodies))
    return network.eval()


@pytest.mark.parametrize("name", EXTRACTORS)
@pytest.mark.parametrize("layout", ["kinect_v1", "kinect_v2"])
def test_features_are_256_wide_and_logits_their_classes(name, layout):
    features, logits = warmed(network(name, layout, classes=7), layout)(bodies(3, layout))
    assert (features.shape, logits.shape) == ((3, 256), (3, 7))
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", EXTRACTORS)
def test_missing_bodies_are_computed_once_and_come_out_the_same(name):
    net = warmed(network(name), "kinect_v1")
    x = bodies(4, "kinect_v1", missing=[(0, 1), (2, 1), (3, 0), (3, 1)])
    with torch.inference_mode():
        places = net.normalised(x).flatten(0, 1)
        plainly = net.encoded(places).mean(dim=(2, 3)).view(4, 2, -1).mean(dim=1)
        torch.testing.assert_close(net(x)[0], plainly, rtol=1e-5, atol=1e-6)
        alone = torch.cat([net(x[i : i + 1])[0] for i in range(4)])
    torch.testing.assert_close(alone, plainly, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_every_parameter_learns(name):
    net = network(name, bodies=1).train()
    _, logits = net(bodies(6, "kinect_v1", bodies=1))
    torch.nn.functional.cross_entropy(logits, torch.arange(6) % 4).backward()
    net.after_backward()
    for parameter, tensor in net.named_parameters():
        assert tensor.grad is not None, parameter
        assert torch.isfinite(tensor.grad).all(), parameter


@pytest.mark.parametrize("name", EXTRACTORS)
def test_products_in_bfloat16_stay_near_those_in_float32(name):
    net = warmed(network(name), "kinect_v1")
    x = bodies(2, "kinect_v1")
    with torch.inference_mode():
        exact, _ = net(x)
        with torch.autocast("cpu", torch.bfloat16):
            rough, _ = net(x)
    assert torch.nn.functional.cosine_similarity(rough.float(), exact).min() > 0.99
    net.train()
    with torch.autocast("cpu", torch.bfloat16):
        net(x)[1].float().sum().backward()


def test_a_graph_convolution_is_the_sum_over_the_subsets():
    torch.manual_seed(0)
    adjacency = torch.from_numpy(spatial_configuration("kinect_v1")) * torch.rand(3, 20, 20)
    convolution = _GraphConvolution(4, 5, 3)
    x = torch.randn(2, 4, 6, 20)
    products = convolution.conv(x).view(2, 3, 5, 6, 20)  # as the released code has it: products first
    expected = torch.einsum("nkctv,kvw->nctw", products, adjacency)
    torch.testing.assert_close(convolution(x, adjacency), expected, rtol=1e-4, atol=1e-5)


def test_names_and_sizes_are_those_of_the_released_networks():
    shift = ShiftGCN(60).state_dict()
    assert len(shift) == 302
    for name, shape in {
        "l1.gcn1.Linear_weight": (3, 64),
        "l5.gcn1.down.0.weight": (128, 64, 1, 1),
        "l8.gcn1.shift_out": (6400,),
        "l8.residual.conv.weight": (256, 128, 1, 1),
        "l10.tcn1.shift_out.ypos": (256,),
        "data_bn.weight": (150,),
        "fc.weight": (60, 256),
    }.items():
        assert shift[name].shape == shape
    graph = STGCN(60).state_dict()
    for name, shape in {
        "A": (3, 25, 25),
        "edge_importance.9": (3, 25, 25),
        "st_gcn_networks.0.gcn.conv.weight": (192, 3, 1, 1),
        "st_gcn_networks.4.tcn.2.weight": (128, 128, 9, 1),
        "st_gcn_networks.7.residual.0.weight": (256, 128, 1, 1),
        "data_bn.weight": (75,),
        "fcn.weight": (60, 256, 1, 1),
    }.items():
        assert graph[name].shape == shape


def test_shiftgcns_parameters_decay_as_in_the_released_script():
    net = network("shiftgcn")
    decay = {id(p): group["weight_decay"] for group in net.parameter_groups(1e-4) for p in group["params"]}
    expected = {"Feature_Mask": 0.0, "Linear_weight": 1e-3}
    for name, parameter in net.named_parameters():
        assert decay[id(parameter)] == pytest.approx(expected.get(name.rpartition(".")[2], 1e-4)), name


def test_a_strided_unit_alone_looks_half_a_frame_ahead():
    ahead = [module.ahead for module in network("shiftgcn").modules() if isinstance(module, TemporalShift)]
    assert sorted(ahead) == [0.0] * 18 + [0.5] * 2
    none = network("shiftgcn", stride_ahead=0.0)
    assert {module.ahead for module in none.modules() if isinstance(module, TemporalShift)} == {0.0}


def test_learned_edges_can_be_left_out():
    net = network("stgcn", edge_importance=False)
    assert not any(weight.requires_grad for weight in net.edge_importance)
