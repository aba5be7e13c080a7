"""The networks of ERPCNet (Li et al., 2022): a backbone in blocks, and the parts that read its maps.

n counts the backbone's blocks: e^{n−1} are the maps before the last one, from which localities are cut, and e^n those
after it. A is the width of a class's semantics, E of an embedding, C the channels of e^{n−1}, G the cells at which a
locality may lie, T the most steps, and H the width between the two layers of fc_j.
"""

import copy
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, dropout

from methods.localities import all_crops, boxes, cells, crops, entropy_ratio, entropy_ratios
from platform.errors import InputError
from platform.population.draws import generator
from platform.zeroshot.task import pictures_of

if TYPE_CHECKING:
    from methods.erpcnet import ERPCNetConfig

Backbone = Literal[
    "resnet101",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "squeezenet1_0",
    "squeezenet1_1",
]
BLOCKS = 5  # of either family: the stem and four more, the last of which is C^n
_MEAN, _DEVIATION = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of ImageNet's pictures, as torchvision's weights want
_FIRE_BOUNDS = {"squeezenet1_0": (0, 3, 7, 9, 12, 13), "squeezenet1_1": (0, 3, 6, 9, 12, 13)}  # cut after each pooling
_CLASSIFIERS = ("fc.", "classifier.")


class LocalityNetwork(nn.Module):
    """The global, local and joint subnets of one member.

    The partial convolution f_P starts as each channel's average over its region, so that C_l, which starts as C^n, is
    given what it knows; drawn at random, its k·k·C·C weights would bury that. C_l begins as a copy of C^n and goes its
    own way. With crops=image the second branch is a whole backbone on patches of the picture instead (HardNet).
    """

    def __init__(self, config: "ERPCNetConfig", semantics: int, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.config = config
        blocks = list(blocks)
        self.before, self.last = nn.Sequential(*blocks[:-1]), blocks[-1]  # C^1 … C^{n−1}, and C^n
        channels, width = _widths(self.last)
        self.width, self.semantics = width, semantics
        self.fc_g = nn.Linear(width, semantics)
        with torch.no_grad():
            self.map_side = _shape_only(self.before, config.side).shape[-1]  # of e^{n−1}
        self.grid = (0, 0)
        if config.sampler != "none":
            self.grid = self._grid()
            if config.crops == "maps":
                self.partial = nn.Conv2d(channels, channels, config.kernel, config.stride, config.padding)
                with torch.no_grad():
                    self.partial.bias.zero_()
                    own = torch.eye(channels, device=self.partial.weight.device)
                    self.partial.weight.copy_(own[:, :, None, None].expand_as(self.partial.weight) / config.kernel**2)
                self.extractor = copy.deepcopy(self.last)
            else:
                self.extractor = copy.deepcopy(nn.Sequential(*self.before, self.last))
            self.fc_l = nn.Linear(width, semantics)
            self.fc_j1 = nn.Linear((config.steps + 1) * width, config.joint_hidden)
            self.fc_j2 = nn.Linear(config.joint_hidden, semantics)
        for block in self._frozen():
            block.requires_grad_(False)

    @property
    def cells(self) -> int:
        """G."""
        return self.grid[0] * self.grid[1]

    def train(self, mode: bool = True) -> "LocalityNetwork":
        """As any module's, but that frozen blocks keep the statistics of their batch normalisation."""
        super().train(mode)
        for block in self._frozen():
            block.eval()
        return self

    def embedded(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """What localities are cut from, (N, C, H', W'), and ē_g, (N, E). pictures: (N, 3, side, side), normalised."""
        x = pictures
        for number, block in enumerate(self.before):
            with torch.set_grad_enabled(torch.is_grad_enabled() and number >= self.config.frozen_blocks):
                x = block(x)
        whole = self.last(x).mean(dim=(2, 3))
        return (x if self.config.crops == "maps" else pictures), whole

    def cropped(self, maps: Tensor, chosen: Tensor) -> Tensor:
        """Each sample's region at a cell, (N, C, k, k). maps: (N, C, H', W'); chosen: (N,) in 0 … G − 1."""
        return crops(maps, chosen, *self._window)

    def local(self, regions: Tensor) -> Tensor:
        """ē_l = C_l(f_P(region)), (N, E). regions: (N, C, k, k)."""
        if self.config.crops == "maps":
            # at one place a convolution is a product, which is several times quicker than conv2d on so small a map
            regions = (regions.flatten(1) @ self.partial.weight.flatten(1).T + self.partial.bias)[:, :, None, None]
        return self.extractor(regions).mean(dim=(2, 3))

    def everywhere(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """ē_l, (N, G, E), and β, (N, G; Eq. 7), at every cell. maps: (N, C, H', W')."""
        regions = all_crops(maps, *self._window)
        places = self.local(regions.flatten(0, 1)).view(*regions.shape[:2], self.width)
        return places, entropy_ratios(maps, *self._window)

    def looked(self, maps: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """ē_l, (N, E), and β, (N,), at one cell of each sample. maps: (N, C, H', W'); chosen: (N,)."""
        regions = self.cropped(maps, chosen)
        return self.local(regions), entropy_ratio(regions, maps)

    def boxes(self, chosen: Tensor) -> Tensor:
        """Cells (N, T) as left, top, right and bottom in the picture, (N, T, 4) pixels."""
        sides = [(side, side) for side in (self._cut_side, self.config.side)]
        return boxes(chosen.flatten(), *sides, *self._window).view(*chosen.shape, 4)

    def global_attributes(self, whole: Tensor) -> Tensor:
        """ā_g, (N, A). whole: (N, E)."""
        return self._dropped(self.fc_g(whole))

    def local_attributes(self, places: Tensor) -> Tensor:
        """ā_l, (…, A). places: (…, E)."""
        return self._dropped(self.fc_l(places))

    def joint_embeddings(self, whole: Tensor, places: Tensor) -> Tensor:
        """e_j after each step, (N, t, H): fc_j's first layer on <ē_g, ē_l,1 … ē_l,i>, i = 1 … t, zeros beyond (Eq. 4).

        whole: (N, E); places: (N, t, E). Each place has its own columns of the layer, so the sums of the first few are
        all prefixes at once.
        """
        own = self.fc_j1.weight.view(-1, self.config.steps + 1, self.width)  # (H, T + 1, E)
        parts = torch.einsum("nte,hte->nth", places, own[:, 1 : places.shape[1] + 1])
        return parts.cumsum(dim=1) + (whole @ own[:, 0].T + self.fc_j1.bias)[:, None]

    def joint_attributes(self, embeddings: Tensor) -> Tensor:
        """ā_j, (…, A), of e_j (…, H)."""
        return self._dropped(self.fc_j2(self._dropped(embeddings)))

    def terms(self, pictures: Tensor, labels: Tensor, text: Tensor, chosen: Tensor | None) -> tuple[Tensor, Tensor]:
        """L_g, L_l, L_j and L_m, (4,) or L_g alone, (1,); and which samples the union recognises, (N,) bool.

        pictures: (N, 3, side, side); labels: (N,); text: (S, A), φ; chosen: (N, T) cells, None for GlobalNet.
        """
        maps, whole = self.embedded(pictures)
        a_g = self.global_attributes(whole)
        loss_g = cross_entropy(a_g @ text.T, labels)
        if chosen is None:
            return loss_g[None], (a_g.detach() @ text.T).argmax(dim=1) == labels
        count, steps = chosen.shape
        regions = torch.cat([self.cropped(maps, chosen[:, t]) for t in range(steps)])  # all steps in one pass of C_l
        places = self.local(regions).view(steps, count, -1).transpose(0, 1)  # (N, T, E)
        a_l = self.local_attributes(places)
        a_j = self.joint_attributes(self.joint_embeddings(whole, places))
        a_m = torch.cat([a_g[:, None], a_l], dim=1).amax(dim=1)
        asked = a_j if self.config.every_prefix else a_j[:, -1:]
        loss_l, loss_j = (
            cross_entropy((a @ text.T).flatten(0, 1), labels.repeat_interleave(a.shape[1])) for a in (a_l, asked)
        )
        loss_m = cross_entropy(a_m @ text.T, labels)
        right = ((a_g + a_j[:, -1]).detach() @ text.T).argmax(dim=1) == labels
        return torch.stack([loss_g, loss_l, loss_j, loss_m]), right

    def is_fresh(self, name: str) -> bool:
        """Whether a parameter belongs to what no backbone's weights were copied to."""
        return name.startswith(("fc_", "partial."))

    @property
    def _cut_side(self) -> int:
        """Of what localities are cut from."""
        return self.map_side if self.config.crops == "maps" else self.config.side

    @property
    def _window(self) -> tuple[int, int, int]:
        """Kernel, stride and padding of what is cut, in pixels of what it is cut from."""
        config = self.config
        if config.crops == "maps":
            return config.kernel, config.stride, config.padding
        # so that patches lie as the kernels' regions do; rounded so that there is room for as many
        pixels, places = (config.patch, config.kernel) if config.patch else (config.side, self.map_side)
        patch, stride = (length * pixels // places for length in (config.kernel, config.stride))
        return patch, max(1, stride), -(-config.padding * pixels // places)

    def _grid(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        config, (kernel, stride, padding), side = self.config, self._window, self._cut_side
        if side + 2 * padding < kernel:
            name = "kernel" if config.crops == "maps" else "patch"
            raise InputError(f"{name}={kernel}: larger than the {side}×{side} of what it is cut from")
        grid = cells((side, side), kernel, stride, padding)
        if config.steps > grid[0] * grid[1]:
            raise InputError(
                f"steps={config.steps}: there are {grid[0]}×{grid[1]} cells to visit; fewer steps or a smaller stride"
            )
        return grid

    def _frozen(self) -> list[nn.Module]:
        count = self.config.frozen_blocks
        frozen = [*self.before, self.last][:count]
        if self.config.sampler != "none" and self.config.crops == "image":
            frozen += list(self.extractor)[:count]
        return frozen

    def _dropped(self, x: Tensor) -> Tensor:
        return dropout(x, self.config.dropout, self.training)


def fresh_network(config: "ERPCNetConfig", semantics: int, seed: int) -> LocalityNetwork:
    """A network at its start, on the CPU: the backbone as `weights` says, the rest drawn by the seed."""
    draw = generator(seed, "weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1 << 62, (), generator=draw)))
        return LocalityNetwork(config, semantics, _blocks(config.backbone, _backbone(config.backbone, config.weights)))


def network_of(config: "ERPCNetConfig", semantics: int, weights: Mapping[str, Tensor]) -> LocalityNetwork:
    """A network of given weights, which it shares, on their device."""
    with torch.device("meta"):
        network = LocalityNetwork(config, semantics, _blocks(config.backbone, _backbone(config.backbone, "none")))
    network.load_state_dict(weights, assign=True)
    return network


def normalised(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) float of uint8 pictures, as torchvision's weights want them."""
    mean, deviation = (pictures.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (_MEAN, _DEVIATION))
    return (pictures.float() / 255 - mean) / deviation


def squares(features: Tensor, side: int) -> Tensor:
    """(N, 3, S, S) pictures of features (N, 3·S·S). Raises InputError where they are none, or smaller than `side`."""
    if (pictures := pictures_of(features)) is None:
        kind = str(features.dtype).removeprefix("torch.")
        raise InputError(f"features of type {kind}, {features.shape[1]} wide, are no square pictures in uint8")
    if side > (stored := pictures.shape[-1]):
        raise InputError(f"side={side}: larger than the stored pictures, {stored}×{stored}; use {stored} or less")
    return pictures


def centred(features: Tensor, side: int) -> Tensor:
    """The middle of each picture, (N, 3, side, side) uint8. features: (N, 3·S·S)."""
    pictures = squares(features, side)
    first = offset_of_centre(pictures.shape[-1], side)
    return pictures[:, :, first : first + side, first : first + side]


def offset_of_centre(stored: int, side: int) -> int:
    """Pixels from a stored picture's left and top to those of its middle."""
    return (stored - side) // 2


def augmented(pictures: Tensor, side: int, smallest: float) -> Tensor:
    """A random resized crop of each picture, flipped half of the time, (N, 3, side, side) uint8.

    pictures: (N, 3, S, S) uint8. Draws from torch's own generator on the CPU, as torchvision does.
    """
    from torchvision.transforms import v2  # here: torchvision takes a second to import, which a verb's help need not

    crop = v2.Compose([v2.RandomResizedCrop(side, scale=(smallest, 1.0), antialias=True), v2.RandomHorizontalFlip()])
    return torch.stack([crop(picture) for picture in pictures])  # one by one: a batch would share one draw


def _backbone(name: str, weights: str) -> nn.Module:
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


def _blocks(name: str, network: nn.Module) -> list[nn.Module]:
    """C^1 … C^n: a ResNet's stem and four layers (He et al., 2016), or a SqueezeNet cut after each pooling."""
    if name in _FIRE_BOUNDS:
        features, bounds = list(network.features), _FIRE_BOUNDS[name]
        return [nn.Sequential(*features[a:b]) for a, b in pairwise(bounds)]
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    return [stem, network.layer1, network.layer2, network.layer3, network.layer4]


def _widths(last: nn.Module) -> tuple[int, int]:
    """Channels of what the last block takes, and of what it gives."""
    convolutions = [module for module in last.modules() if isinstance(module, nn.Conv2d)]
    first = convolutions[0].in_channels
    with torch.no_grad():
        return first, _shape_only(last, 7, first).shape[1]


def _shape_only(block: nn.Module, side: int, channels: int = 3) -> Tensor:
    """What a block makes of maps of a side, without the numbers."""
    tensors = {**dict(block.named_parameters()), **dict(block.named_buffers())}
    on_meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    training = block.training
    block.eval()
    shape = functional_call(block, on_meta, torch.empty(1, channels, side, side, device="meta"))
    block.train(training)
    return shape
