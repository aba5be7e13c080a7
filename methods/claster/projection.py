"""The semantic-to-visual MLP a', which is fitted before the centroids start and then left alone."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from methods.claster.network import CLASTERNetwork
from platform.method import Member

_STRETCH, _LEAST_GAIN = 100, 0.002  # steps after which the loss is looked at, and what they must take of it


def fitted_projection(member: Member, weights: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The semantic-to-visual MLP, fitted by least squares to the seen classes' mean features, each as it occurs.

    It stops when 100 steps lower the loss by less than 0.2 %. How many steps that takes depends on the features' scale,
    and where they are small beside the weight decay, the loss comes to rise again.
    """
    task, config = member.task, member.config
    classes = len(task.seen)
    share = torch.bincount(task.labels, minlength=classes).float()
    means = torch.zeros(classes, task.features.shape[1]).index_add_(0, task.labels, task.features)
    means = (means / share.clamp_min(1)[:, None]).to(device)
    share = (share / share.sum())[:, None].to(device)
    semantics = task.semantics[:classes].to(device)
    names = ("project_1", "project_1_bias", "project_2", "project_2_bias")
    with torch.enable_grad():
        own = {name: weights[name].to(device).requires_grad_() for name in names}
        network = CLASTERNetwork(config, own)
        optimiser = torch.optim.Adam(
            own.values(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=device.type == "cpu"
        )
        before = math.inf
        for step in range(config.projection_steps):
            loss = (share * (network.projected(semantics) - means).square()).sum() / means.shape[1]
            if step % _STRETCH == 0:
                now = loss.item()
                if not now < (1 - _LEAST_GAIN) * before:
                    break
                before = now
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return {name: tensor.detach().cpu() for name, tensor in own.items()}
