"""Weights of I3D that nobody trained."""

import torch

from platform.features.videos.i3d import I3D


def write_weights(path, channels, seed=0):
    """A state dict of I3D with random weights, of a scale at which features neither vanish nor explode."""
    network, draw = I3D(channels), torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=draw)
    torch.save(network.state_dict(), path)
    return path
