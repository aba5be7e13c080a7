import sys

import pytest
import torch
from made_regen import clips

pytest.importorskip("peft")

from methods.regen.adapters import add_adapters, merged_weights
from methods.regen.captioners import load_captioner
from methods.regen.config import ReGenConfig
from platform.errors import InputError

TWICE_TWO_LAYERS = 2 * 2  # A and B of each layer


def adapted(models, name, **fields):
    captioner = load_captioner(models(name), 2, "cpu")
    return captioner, add_adapters(captioner, ReGenConfig(lora_rank=2, **fields), 0)


@pytest.mark.parametrize(
    ("name", "fields", "matrices"),
    [
        ("git", {}, 2 + 2),  # of the text, and of the pictures
        ("git", {"lora_matrices": "attention"}, 4 + 4),
        ("git", {"frozen": "vision"}, 2),
        ("git", {"frozen": "decoder"}, 2),
        ("blip", {}, 2 + 2 + 1),  # self-attention, cross-attention; the vision tower's is one matrix
        ("blip", {"lora_matrices": "attention", "frozen": "decoder"}, 2),
    ],
)
def test_adapters_stand_beside_the_attention_and_are_trained_alone(models, name, fields, matrices):
    captioner, trained = adapted(models, name, **fields)
    assert len(trained) == matrices * TWICE_TWO_LAYERS
    assert {n for n, own in captioner.named_parameters() if own.requires_grad} == set(trained)
    if fields.get("frozen") == "vision":
        assert not any("image_encoder" in n for n in trained)


@pytest.mark.parametrize("name", ["git", "blip"])
def test_merged_weights_are_a_captioner_without_adapters(models, name):
    captioner, trained = adapted(models, name, lora_matrices="attention", lora_alpha=3.0)
    plain = load_captioner(models(name), 2, "cpu")
    seen, tokens = clips(), torch.tensor([[2, 6, 7, 3], [2, 8, 9, 3], [2, 7, 6, 3]])

    def probabilities(captioner):
        with torch.no_grad():
            return captioner.log_probabilities(captioner.visual(seen), tokens)

    torch.testing.assert_close(probabilities(captioner), probabilities(plain))  # B is zero
    with torch.no_grad():
        for n, own in trained.items():
            own.copy_(torch.linspace(-1, 1, own.numel()).view_as(own) + ("lora_A" in n))
    before = {n: own.clone() for n, own in captioner.state_dict().items()}
    found = merged_weights(captioner)
    assert found.keys() == plain.state_dict().keys()
    unchanged = probabilities(plain)
    plain.load_state_dict(found)
    torch.testing.assert_close(probabilities(plain), probabilities(captioner), rtol=1e-3, atol=1e-3)
    assert (probabilities(plain) - unchanged).abs().max() > 0.1
    for own in found.values():
        own.zero_()
    for n, own in captioner.state_dict().items():
        assert torch.equal(own, before[n]), n  # copies


def test_adapters_depend_on_the_seed_alone(models):
    one, two = (adapted(models, "git")[1] for _ in range(2))
    for name, own in one.items():
        assert torch.equal(own, two[name]), name


def test_without_peft_one_line_says_what_to_install(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"lora_rank=2: needs the Python module `peft`.*pip install -e \.\[lora\]"):
        adapted(models, "git")
