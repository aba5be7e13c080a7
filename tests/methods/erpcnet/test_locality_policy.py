import torch
from torch import nn

from methods.erpcnet.policy import FORBIDDEN, LocalityPolicy, first_weights
from platform.population.draws import generator


def test_the_first_weights_have_the_papers_widths_and_start_as_pytorchs():
    weights = first_weights(20, 16, generator(0, "policy"))
    assert {name: tuple(w.shape) for name, w in weights.items() if not name.endswith("_bias")} == {
        "encoder_1": (20, 1024),
        "encoder_2": (1024, 256),
        "gru_in": (256, 768),
        "gru_hidden": (256, 768),
        "policy": (256, 16),
        "value": (256, 1),
    }
    assert all(weights[f"{name}_bias"].shape == (1, w.shape[1]) for name, w in weights.items() if "_bias" not in name)
    assert weights["gru_hidden"].abs().max() <= 256**-0.5


def test_the_policy_is_two_layers_a_gated_unit_and_a_head():
    weights = first_weights(6, 5, generator(0, "policy"), encoder=8, hidden=4)
    gru = nn.GRUCell(4, 4)
    with torch.no_grad():
        for own, name in ((gru.weight_ih, "gru_in"), (gru.weight_hh, "gru_hidden")):
            own.copy_(weights[name].T)
        gru.bias_ih.copy_(weights["gru_in_bias"][0])
        gru.bias_hh.copy_(weights["gru_hidden_bias"][0])
    draw = generator(0, "seen")
    seen, hidden = torch.randn(3, 6, generator=draw), torch.randn(3, 4, generator=draw)
    mask = torch.tensor([True, False, True, True, False]).repeat(3, 1)
    inner = (seen @ weights["encoder_1"] + weights["encoder_1_bias"]).relu()
    after = gru((inner @ weights["encoder_2"] + weights["encoder_2_bias"]).relu(), hidden)
    expected = after @ weights["policy"] + weights["policy_bias"]
    policy = LocalityPolicy(weights)
    logits, found = policy.logits(seen, mask, hidden)
    torch.testing.assert_close(found, after)
    torch.testing.assert_close(logits[mask], expected[mask])
    assert (logits[~mask] == FORBIDDEN).all()
    assert policy.start(3, "cpu").shape == (3, 4)
    squashed, _ = LocalityPolicy(weights, sigmoid_head=True).logits(seen, mask, hidden)
    torch.testing.assert_close(squashed[mask], expected.sigmoid()[mask])
