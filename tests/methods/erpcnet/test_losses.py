import pytest
import torch
from made_erpcnet import network, some_pictures
from torch.nn.functional import conv2d, log_softmax

from methods.erpcnet.losses import losses


@pytest.mark.parametrize("every_prefix", [True, False])
def test_losses_are_those_of_the_equations(every_prefix):
    net = network(every_prefix=every_prefix)
    with torch.no_grad():  # not at its start, where the partial convolution is an average
        net.partial.weight.normal_(0, 0.01)
        net.partial.bias.normal_()
    pictures, labels, text = some_pictures()
    chosen = torch.tensor([[0, 3, 1], [2, 1, 0], [3, 2, 1]])
    terms, right = losses(net, pictures, labels, text, chosen)

    def cross_entropy(attributes, label):
        return -log_softmax(text @ attributes, dim=0)[label]

    expected, decided = torch.zeros(4), []
    for x, y, own in zip(pictures, labels, chosen, strict=True):
        maps = net.before(x[None])
        e_g = net.last(maps)[0].mean(dim=(1, 2))
        a_g = net.fc_g(e_g)
        localities = []
        for cell in own.tolist():
            row, column = divmod(cell, 2)
            region = maps[:, :, row : row + 2, column : column + 2]
            e_p = conv2d(region, net.partial.weight, net.partial.bias)
            localities.append(net.extractor(e_p)[0].mean(dim=(1, 2)))
        a_l = [net.fc_l(e) for e in localities]
        a_j = []
        for t in range(1, 4):
            sequence = torch.cat([e_g, *localities[:t], torch.zeros((3 - t) * len(e_g))])
            a_j.append(net.fc_j2(net.fc_j1(sequence)))
            torch.testing.assert_close(net.joint_attributes(net.fc_j1(sequence[None]))[0], a_j[-1])
        a_m = torch.stack([a_g, *a_l]).max(dim=0).values
        asked = a_j if every_prefix else a_j[-1:]
        expected[0] += cross_entropy(a_g, y)
        expected[1] += sum(cross_entropy(a, y) for a in a_l) / 3
        expected[2] += sum(cross_entropy(a, y) for a in asked) / len(asked)
        expected[3] += cross_entropy(a_m, y)
        decided.append((text @ (a_g + a_j[-1])).argmax() == y)
    torch.testing.assert_close(terms, expected / len(pictures), rtol=1e-4, atol=1e-5)
    assert right.tolist() == decided
