import pytest
import torch
from made_erpcnet import network

from platform.errors import InputError


def test_weights_come_from_a_file_but_for_its_classifier(tmp_path):
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_1

    torch.manual_seed(1)
    state = squeezenet1_1(weights=None).state_dict()
    torch.save(state, tmp_path / "weights.pt")
    save_file({n: t for n, t in state.items() if not n.startswith("classifier")}, tmp_path / "weights.safetensors")
    for name in ("weights.pt", "weights.safetensors"):
        net = network(weights=str(tmp_path / name))
        assert torch.equal(net.before[0][0].weight, state["features.0.weight"])
        assert torch.equal(net.extractor[0].squeeze.weight, state["features.12.squeeze.weight"])
    torch.save({n: t for n, t in state.items() if n != "features.3.squeeze.bias"}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match=r"not the weights of squeezenet1_1: `features.3.squeeze.bias` is not there"):
        network(weights=str(tmp_path / "weights.pt"))
    whole = squeezenet1_1(weights=None)
    for write in (lambda: torch.save(whole, tmp_path / "weights.pt"), lambda: _write_nonsense(tmp_path / "weights.pt")):
        write()
        with pytest.raises(InputError, match=r"weights\.pt: truncated, or holds more than tensors") as caught:
            network(weights=str(tmp_path / "weights.pt"))
        assert str(caught.value).isprintable()
    _write_nonsense(tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="not the weights of squeezenet1_1") as caught:
        network(weights=str(tmp_path / "weights.safetensors"))
    assert "\n" not in str(caught.value)


def _write_nonsense(path):
    path.write_bytes(b"nonsense")


def test_weights_that_cannot_be_downloaded_are_told_in_one_line(monkeypatch):
    from urllib.error import URLError

    def unreachable(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(InputError, match="weights=imagenet: squeezenet1_1's weights could not be downloaded") as caught:
        network(weights="imagenet")
    assert "\n" not in str(caught.value)
