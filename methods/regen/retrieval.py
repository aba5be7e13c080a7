"""REST's retrieval (Bulat et al., 2022): the captions of a corpus that lie next to a clip in CLIP's space."""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from platform.errors import InputError

_CLIPS, _CAPTIONS = 1024, 1 << 16  # of a block: 256 MiB of float32 products


def read_captions(path: Path | str) -> list[str]:
    """The captions of a text file, UTF-8, one a line; empty lines and space at both ends are left out.

    Raises InputError where there is no such file, it is not UTF-8, or has no caption.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); write captions as UTF-8, one a line") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a text file with a caption a line") from None
    found = [line.strip() for line in text.split("\n") if line.strip()]
    if not found:
        raise InputError(f"{path}: has no caption; write captions as UTF-8, one a line")
    return found


@torch.no_grad()
def retrieved(clips: Tensor, captions: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The captions with the largest inner products with each clip: values and indices (N, count), largest first.

    Exact, in blocks of clips and captions, so that the N × M products are never held together; captions may stay on
    another device than the clips. faiss does the same, quicker, where it is installed and both are on the CPU. Which of
    captions with equal products come first is not said.

    clips: (N, d), captions: (M, d), of length 1 as `ClipTowers.text` gives them. Raises InputError where count is not
    in 1 … M.
    """
    if not 1 <= count <= len(captions):
        raise InputError(f"count={count}: there are {len(captions)} captions; give 1 to {len(captions)}")
    if find_spec("faiss") and clips.device.type == captions.device.type == "cpu":
        return _by_faiss(clips, captions, count)
    parts = [_of_block(own, captions, count) for own in clips.split(_CLIPS)]
    values, indices = zip(*parts, strict=True)
    return torch.cat(values), torch.cat(indices)


def _of_block(clips: Tensor, captions: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best of each block of captions among the best so far."""
    values = clips.new_empty(len(clips), 0, dtype=torch.float32)
    indices = torch.empty(len(clips), 0, dtype=torch.int64, device=clips.device)
    for start in range(0, len(captions), _CAPTIONS):
        block = captions[start : start + _CAPTIONS].to(clips.device)
        found, places = (clips.float() @ block.float().T).topk(min(count, len(block)))
        values, indices = torch.cat([values, found], dim=1), torch.cat([indices, places + start], dim=1)
        values, kept = values.topk(min(count, values.shape[1]))
        indices = indices.gather(1, kept)
    return values, indices


def _by_faiss(clips: Tensor, captions: Tensor, count: int) -> tuple[Tensor, Tensor]:
    import faiss

    found, places = faiss.knn(
        clips.float().contiguous().numpy(),
        captions.float().contiguous().numpy(),
        count,
        metric=faiss.METRIC_INNER_PRODUCT,
    )
    return torch.from_numpy(found), torch.from_numpy(places)
