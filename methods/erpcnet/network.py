"""The networks of ERPCNet (Li et al., 2022): a backbone in blocks, and the parts that read its maps.

n counts the backbone's blocks: e^{n−1} are the maps before the last one, from which localities are cut, and e^n those
after it. A is the width of a class's semantics, E of an embedding, C the channels of e^{n−1}, G the cells at which a
locality may lie, T the most steps, and H the width between the two layers of fc_j.
"""

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from methods.erpcnet.backbones import blocks_of, shape_only, widths
from methods.erpcnet.config import ERPCNetConfig
from methods.erpcnet.localities import all_crops, boxes, cells, crops
from methods.erpcnet.reward import entropy_ratio, entropy_ratios
from platform.errors import InputError
from platform.population.draws import named_draws


class LocalityNetwork(nn.Module):
    """The global, local and joint subnets of one member.

    The partial convolution f_P starts as each channel's average over its region, so that C_l, which starts as C^n, is
    given what it knows; drawn at random, its k·k·C·C weights would bury that. C_l begins as a copy of C^n and goes its
    own way. With crops=image the second branch is a whole backbone on patches of the picture instead (HardNet).
    """

    def __init__(self, config: ERPCNetConfig, semantics: int, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.config = config
        blocks = list(blocks)
        self.before, self.last = nn.Sequential(*blocks[:-1]), blocks[-1]  # C^1 … C^{n−1}, and C^n
        channels, width = widths(self.last)
        self.width, self.semantics = width, semantics
        self.fc_g = nn.Linear(width, semantics)
        with torch.no_grad():
            self.map_side = shape_only(self.before, config.side).shape[-1]  # of e^{n−1}
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


def fresh_network(config: ERPCNetConfig, semantics: int, seed: int) -> LocalityNetwork:
    """A network at its start, on the CPU: the backbone as `weights` says, the rest drawn by the seed."""
    with named_draws(torch.device("cpu"), seed, "weights"):
        return LocalityNetwork(config, semantics, blocks_of(config.backbone, config.weights))


def network_of(config: ERPCNetConfig, semantics: int, weights: Mapping[str, Tensor]) -> LocalityNetwork:
    """A network of given weights, which it shares, on their device."""
    with torch.device("meta"):
        network = LocalityNetwork(config, semantics, blocks_of(config.backbone, "none"))
    network.load_state_dict(weights, assign=True)
    return network
