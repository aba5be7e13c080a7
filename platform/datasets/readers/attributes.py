"""Class attributes, as image data sets have them."""

from collections.abc import Sequence

import numpy as np

from platform.datasets.contents import ClassInfo
from platform.datasets.readers.arrays import as_matrix
from platform.errors import InputError


def classes_with_attributes(names: Sequence[str], attributes: np.ndarray, where: str) -> list[ClassInfo]:
    """Classes with their rows of `attributes`, (C, A)."""
    values = as_matrix(where, attributes, rows=len(names)).astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{where}: holds NaN or infinity; attributes must be finite")
    return [ClassInfo(name=name, attributes=row) for name, row in zip(names, values.tolist(), strict=True)]
