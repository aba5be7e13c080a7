"""Backbones f_G: torchvision's networks, with their weights, cut into the blocks C^1 … C^n."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from platform.errors import InputError

_FIRE_BOUNDS = {"squeezenet1_0": (0, 3, 7, 9, 12, 13), "squeezenet1_1": (0, 3, 6, 9, 12, 13)}  # cut after each pooling
_CLASSIFIERS = ("fc.", "classifier.")


def blocks_of(name: str, weights: str) -> list[nn.Module]:
    """C^1 … C^n of a backbone. weights: imagenet, none, or a file. Raises InputError where they cannot be had."""
    return _cut(name, _network(name, weights))


def widths(last: nn.Module) -> tuple[int, int]:
    """Channels of what the last block takes, and of what it gives."""
    convolutions = [module for module in last.modules() if isinstance(module, nn.Conv2d)]
    first = convolutions[0].in_channels
    with torch.no_grad():
        return first, shape_only(last, 7, first).shape[1]


def shape_only(block: nn.Module, side: int, channels: int = 3) -> Tensor:
    """What a block makes of maps of a side, without the numbers."""
    tensors = {**dict(block.named_parameters()), **dict(block.named_buffers())}
    on_meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    training = block.training
    block.eval()
    shape = functional_call(block, on_meta, torch.empty(1, channels, side, side, device="meta"))
    block.train(training)
    return shape


def _network(name: str, weights: str) -> nn.Module:
    """torchvision's network with random, downloaded or given weights. Raises InputError where they cannot be had."""
    from torchvision.models import get_model, get_model_weights

    if weights == "imagenet":
        try:
            return get_model(name, weights=get_model_weights(name).IMAGENET1K_V1)
        except (OSError, RuntimeError) as error:  # no network, or a file cut off on its way
            raise InputError(
                f"weights=imagenet: {name}'s weights could not be downloaded ({error}); give a file of them, or none"
            ) from None
    network = get_model(name, weights=None)
    if weights != "none":
        _load(network, Path(weights), name)
    return network


def _load(network: nn.Module, path: Path, name: str) -> None:
    """Weights from a file with torchvision's names; the classifier's, if it has them, are left out."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Mapping[str, Any] = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
        own = {key: tensor for key, tensor in found.items() if not key.startswith(_CLASSIFIERS)}
        missing, unexpected = network.load_state_dict(own, strict=False)
    except FileNotFoundError:
        raise InputError(f"weights={path}: there is no such file; give one, `imagenet` or `none`") from None
    except UnpicklingError:  # torch's own message is long, in colour, and advises to run what is in the file
        raise InputError(
            f"weights={path}: truncated, or holds more than tensors, a whole module perhaps; save its `state_dict()`"
        ) from None
    except Exception as error:  # whatever a file that is no state dict, or another network's, leads the readers to
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"weights={path}: not the weights of {name}: {reason}") from None
    wrong = [key for key in missing if not key.startswith(_CLASSIFIERS)] + unexpected
    if wrong:
        state = "is not there" if wrong[0] in missing else f"is none of {name}'s"
        raise InputError(f"weights={path}: not the weights of {name}: `{wrong[0]}` {state}")


def _cut(name: str, network: nn.Module) -> list[nn.Module]:
    """C^1 … C^n: a ResNet's stem and four layers (He et al., 2016), or a SqueezeNet cut after each pooling."""
    if name in _FIRE_BOUNDS:
        features, bounds = list(network.features), _FIRE_BOUNDS[name]
        return [nn.Sequential(*features[a:b]) for a, b in pairwise(bounds)]
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    return [stem, network.layer1, network.layer2, network.layer3, network.layer4]
