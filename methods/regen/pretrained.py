"""Pretrained models by transformers: from the Hugging Face hub or a folder, tensors alone, errors in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from platform.errors import InputError
from platform.hub import hub, quiet


@contextmanager
def loading(name: str, what: str) -> Iterator[None]:
    """Inside, a library's error becomes an InputError of one line, `what` being what is loaded, and nothing is printed.

    A folder is read without the network; an id through the hub, or its cache alone where HF_HUB_OFFLINE is set.
    """
    path = Path(name)
    local = path.exists()
    if not local and (path.is_absolute() or name.startswith(("~", "."))):
        raise InputError(f"{what} `{name}`: there is no such folder; give a Hugging Face id or a folder")
    if path.is_dir() and not (path / "config.json").is_file():
        raise InputError(f"{what} `{name}`: the folder has no config.json; give one that save_pretrained has written")
    with one_line(f"{what} `{name}`", _advice(path), offline=local):
        yield


@contextmanager
def one_line(of: str, advice: str, *, offline: bool) -> Iterator[None]:
    """Inside, a library's error becomes an InputError of one line, and nothing is printed."""
    # a random initialisation that weights then overwrite must not move the caller's generator
    with torch.random.fork_rng(devices=[]), quiet(), hub(offline=offline):
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # transformers, open_clip, safetensors and the hub raise their own
            raise InputError(f"{of} cannot be loaded ({_reason(error)}); {advice}") from error


def configuration(name: str) -> Any:
    """The model's configuration. Within `loading`."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(name, trust_remote_code=False)  # nor is a user asked whether to


def network(kind: Any, name: str, what: str, **options: Any) -> Any:
    """A model with all its weights, float32, in evaluation mode, from safetensors files. Within `loading`.

    kind: one of transformers' classes; options: what its from_pretrained takes besides.

    Raises InputError where the file lacks weights: a checkpoint of another head would be given random ones.
    """
    found, report = kind.from_pretrained(
        name, use_safetensors=True, dtype=torch.float32, output_loading_info=True, trust_remote_code=False, **options
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"{what} `{name}`: no weights of a {type(found).__name__}: `{missing[0]}` is not there ({len(missing)} in "
            "all); give a model that was trained as one"
        )
    return found.eval()


def tokenizer(name: str, what: str, vocabulary: int) -> Any:
    """The model's tokenizer. vocabulary: how many tokens the model knows. Within `loading`.

    Raises InputError where there is none, or it has more tokens than the model.
    """
    from transformers import AutoTokenizer

    advice = "give a folder into which the tokenizer was saved too (tokenizer.save_pretrained)"
    try:
        found = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        raise InputError(f"{what} `{name}` has no tokenizer ({_reason(error)}); {advice}") from error
    if len(found) <= len(found.all_special_tokens):  # what transformers makes where there is no vocabulary
        raise InputError(f"{what} `{name}` has no tokenizer: its vocabulary is empty; {advice}")
    if len(found) > vocabulary:
        raise InputError(f"{what} `{name}`: its tokenizer has {len(found)} tokens, the model {vocabulary}; {advice}")
    return found


@dataclass(frozen=True)
class ImageProcessor:
    """Pictures as a model takes them, by its own image processor."""

    processor: Any
    side: int
    of: str  # the model, for a message

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, 3, side, side) float32, resized and normalised, on the frames' device. frames: (B, 3, S, S) uint8.

        Raises InputError where the pictures get another size than the model takes.
        """
        found = self.processor(images=frames, return_tensors="pt")["pixel_values"].to(frames.device)
        if found.shape[-2:] != (self.side, self.side):
            sides = " × ".join(str(side) for side in found.shape[-2:])
            raise InputError(
                f"{self.of}: its image processor gives {sides} pixels, the model takes {self.side} × {self.side}; "
                "give the preprocessor_config.json that belongs to the model"
            )
        return found


def image_processor(name: str, what: str, side: int) -> ImageProcessor:
    """What resizes and normalises the model's pictures. side: what it takes, in pixels. Within `loading`.

    Raises InputError where there is none, or it is another model's.
    """
    from transformers import AutoImageProcessor

    try:
        own = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        raise InputError(
            f"{what} `{name}` has no image processor ({_reason(error)}); give a folder with preprocessor_config.json"
        ) from error
    found = ImageProcessor(own, side, f"{what} `{name}`")
    found(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    return found


def _reason(error: Exception) -> str:
    """The beginning of a library's message: they go on about versions and tokens."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[0].partition(". ")[0][:200]


def _advice(path: Path) -> str:
    if path.is_dir() and not list(path.glob("*.safetensors*")):
        return "the folder has no safetensors file: load the model elsewhere and write it with save_pretrained"
    if path.is_dir():
        return "give a folder that save_pretrained has written"
    return "where there is no network, give a folder that save_pretrained has written"
