import pickle

import pytest
import torch
from safetensors.torch import save_file

from platform.errors import InputError
from platform.features.extractors import ShiftGCNConfig, STGCNConfig
from platform.features.saved import SavedExtractor, published
from platform.features.shiftgcn import ShiftGCN
from platform.features.stgcn import STGCN

SHIFT, GRAPH = ShiftGCNConfig(frames=8), STGCNConfig(frames=8)


@pytest.fixture(scope="module")
def released():
    """Weights as published: Shift-GCN of 60 classes and NTU's joints."""
    torch.manual_seed(0)
    return ShiftGCN(60).state_dict()


def saved(tensors, path):
    torch.save(tensors, path)
    return path


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_published_weights_say_what_they_take(released, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pt" else save_file)(released, path)
    found = published("shiftgcn", SHIFT, path)
    assert (found.layout, found.config.layout, found.config.bodies) == ("kinect_v2", "kinect_v2", 2)
    assert (found.seen, found.network.classes) == (None, 60)
    for name, tensor in found.network.state_dict().items():
        assert torch.equal(tensor, released[name])


def test_weights_saved_by_several_gpus_are_known_too(released, tmp_path):
    path = saved({f"module.{name}": tensor for name, tensor in released.items()}, tmp_path / "weights.pt")
    assert published("shiftgcn", SHIFT, path).network.classes == 60


def test_stgcns_weights_load_by_name(tmp_path):
    torch.manual_seed(0)
    weights = STGCN(7, "kinect_v1").state_dict()
    found = published("stgcn", GRAPH, saved(weights, tmp_path / "weights.pt"))
    assert (found.layout, found.network.classes) == ("kinect_v1", 7)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in found.network.state_dict().items())


def test_an_extractor_comes_back_as_it_was(released, tmp_path):
    one = published("shiftgcn", SHIFT, saved(released, tmp_path / "weights.pt"))
    one.write(tmp_path / "deep" / "one.extractor")
    other = SavedExtractor.read(tmp_path / "deep" / "one.extractor")
    assert (other.name, other.config, other.layout, other.seen) == (one.name, one.config, one.layout, one.seen)
    assert other.record == {"weights": "weights.pt"}
    x = torch.randn(1, 3, 8, 25, 2)
    with torch.inference_mode():
        assert torch.equal(one.network(x)[0], other.network(x)[0])
    with pytest.raises(InputError, match="no extractor stands there"):
        SavedExtractor.read(tmp_path / "other.extractor")


def without(name):
    return lambda weights: {n: t for n, t in weights.items() if n != name}


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        (without("l3.tcn1.shift_in.ypos"), SHIFT, "lacks `l3.tcn1.shift_in.ypos`"),
        (lambda w: {**w, "l11.bn": torch.ones(1)}, SHIFT, "has `l11.bn`, which no part of the network takes"),
        (lambda w: {**w, "l2.gcn1.Linear_weight": torch.ones(2, 2)}, SHIFT, r"is \(2, 2\), expected \(64, 64\)"),
        (lambda w: {**w, "data_bn.weight": torch.ones(66)}, SHIFT, "made for 11 joints of 2 bodies"),
        (without("fc.weight"), SHIFT, "no weights of shiftgcn"),
        (lambda w: [1, 2], SHIFT, "expected a state dict"),
        (lambda w: w, ShiftGCNConfig(frames=8, layout="kinect_v1"), "made for kinect_v2, not for layout=kinect_v1"),
    ],
)
def test_other_weights_are_refused_in_one_line(released, tmp_path, change, config, message):
    with pytest.raises(InputError, match=message):
        published("shiftgcn", config, saved(change(released), tmp_path / "weights.pt"))


class Foreign:
    def __reduce__(self):
        return print, ("code that ran",)


def test_a_pickle_that_holds_code_is_never_run(tmp_path, capsys):
    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(Foreign()))
    torch.save({"x": Foreign()}, tmp_path / "other.pt")
    for file in (path, tmp_path / "other.pt"):
        with pytest.raises(InputError, match="neither a PyTorch file of weights alone nor safetensors"):
            published("shiftgcn", SHIFT, file)
    (tmp_path / "broken.safetensors").write_bytes(b"123")
    with pytest.raises(InputError, match="nor safetensors"):
        published("shiftgcn", SHIFT, tmp_path / "broken.safetensors")
    with pytest.raises(InputError, match="no such file"):
        published("shiftgcn", SHIFT, tmp_path / "none.pt")
    assert "code that ran" not in capsys.readouterr().out
