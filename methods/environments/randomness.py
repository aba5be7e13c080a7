"""Keep what seeds everything, as RLlib does with a seed of its own, from being noticed elsewhere in the process."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"  # RLlib sets it with the seed


@contextmanager
def undisturbed() -> Iterator[None]:
    """Afterwards the global generators, and what RLlib asks of PyTorch with a seed, are as they were before."""
    own, arrays, variable = random.getstate(), np.random.get_state(), os.environ.get(_VARIABLE)
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    strict, lenient = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(own)
        np.random.set_state(arrays)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        torch.use_deterministic_algorithms(strict, warn_only=lenient)
        os.environ.pop(_VARIABLE, None)
        if variable is not None:
            os.environ[_VARIABLE] = variable
