"""CUDA graphs: the hundred small kernels of a population's step become one launch."""

import logging
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

_log = logging.getLogger("unseen.population")
_WARM_UPS = 3  # what PyTorch asks for before a capture


class Replayed:
    """A step that a GPU captures once for each kind of it, and replays; elsewhere it is simply called.

    A step reads its inputs, writes to tensors that stay where they are, and gives one tensor. It must not wait for the
    host. `written` are the tensors that it changes: a capture needs trial runs, which are undone.
    """

    def __init__(self, step: Callable[..., Tensor], written: Sequence[Tensor], device: torch.device) -> None:
        self.step, self.written, self.captures = step, written, device.type == "cuda"
        self.graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]] = {}

    def __call__(self, kind: Hashable, *inputs: Tensor) -> Tensor:
        """kind: what the step does beside its inputs, its first argument; inputs of one kind always have one shape."""
        if self.captures and kind not in self.graphs:
            try:
                self.graphs[kind] = self._captured(kind, inputs)
            except RuntimeError as error:
                _log.warning("steps are not replayed as a CUDA graph: %s", str(error).splitlines()[0])
                self.captures = False
        if not self.captures:
            return self.step(kind, *inputs)
        graph, places, result = self.graphs[kind]
        for place, given in zip(places, inputs, strict=True):
            place.copy_(given)
        graph.replay()
        return result.clone()

    def _captured(self, kind: Hashable, inputs: Sequence[Tensor]) -> tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]:
        places = [given.clone() for given in inputs]
        before = [tensor.clone() for tensor in self.written]
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(beside):
                for _ in range(_WARM_UPS):
                    self.step(kind, *places)
        finally:
            torch.cuda.current_stream().wait_stream(beside)
            for tensor, value in zip(self.written, before, strict=True):
                tensor.copy_(value)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = self.step(kind, *places)
        return graph, places, result
