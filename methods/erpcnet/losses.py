"""The losses of stage I: L_g, L_l, L_j and L_m, whose sum is minimised. Letters as in `methods.erpcnet.network`."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from methods.erpcnet.network import LocalityNetwork

LOSSES = ("global", "local", "joint", "maximum")


def losses(
    network: LocalityNetwork, pictures: Tensor, labels: Tensor, text: Tensor, chosen: Tensor | None
) -> tuple[Tensor, Tensor]:
    """L_g, L_l, L_j and L_m, (4,) or L_g alone, (1,); and which samples the union recognises, (N,) bool.

    pictures: (N, 3, side, side); labels: (N,); text: (S, A), φ; chosen: (N, T) cells, None for GlobalNet.
    """
    maps, whole = network.embedded(pictures)
    a_g = network.global_attributes(whole)
    loss_g = cross_entropy(a_g @ text.T, labels)  # Eq. 1
    if chosen is None:
        return loss_g[None], (a_g.detach() @ text.T).argmax(dim=1) == labels
    count, steps = chosen.shape
    regions = torch.cat([network.cropped(maps, chosen[:, t]) for t in range(steps)])  # all steps in one pass of C_l
    places = network.local(regions).view(steps, count, -1).transpose(0, 1)  # (N, T, E)
    a_l = network.local_attributes(places)
    a_j = network.joint_attributes(network.joint_embeddings(whole, places))
    a_m = torch.cat([a_g[:, None], a_l], dim=1).amax(dim=1)
    asked = a_j if network.config.every_prefix else a_j[:, -1:]
    loss_l, loss_j = (  # Eq. 3 and 4
        cross_entropy((a @ text.T).flatten(0, 1), labels.repeat_interleave(a.shape[1])) for a in (a_l, asked)
    )
    loss_m = cross_entropy(a_m @ text.T, labels)  # Eq. 5
    right = ((a_g + a_j[:, -1]).detach() @ text.T).argmax(dim=1) == labels
    return torch.stack([loss_g, loss_l, loss_j, loss_m]), right
