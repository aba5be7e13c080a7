"""Models of published sizes with random weights, in Hugging Face's own folder format: the loading code is the real one.

Their vocabularies have the published number of tokens. The words are made up, of four letters each.
"""

import json
from collections.abc import Callable, Mapping
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch
from torch import nn

from platform.hub import quiet
from platform.population.draws import named_draws

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def save_random_model(size: str, folder: Path, seed: int = 0) -> str:
    """Write a model of SIZES into a new folder, rounded to bfloat16."""
    with named_draws(torch.device("cpu"), seed, "random model", size), quiet():
        folder.mkdir(parents=True)
        SIZES[size](folder)
    return str(folder)


def _git(folder: Path, **small: Any) -> None:
    """177 M parameters: ViT-B/16 at 224 pixels, and six layers of text. small: what is not as published."""
    from transformers import CLIPImageProcessor, GitConfig, GitForCausalLM

    config = GitConfig(**small)
    side = config.vision_config.image_size
    _save(GitForCausalLM(config), folder)
    CLIPImageProcessor(size={"shortest_edge": side}, crop_size=side).save_pretrained(folder)
    _word_pieces(folder, config.vocab_size)


def _blip(folder: Path) -> None:
    """224 M parameters: ViT-B/16 at 384 pixels, and twelve layers of text with cross-attention."""
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

    config = BlipConfig()
    side = config.vision_config.image_size
    _save(BlipForConditionalGeneration(config), folder)
    BlipImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    _word_pieces(folder, config.text_config.vocab_size)


def _clip(folder: Path, **small: Any) -> None:
    """ViT-B/32 at 224 pixels, and twelve layers of text. small: what is not so."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    config = CLIPConfig(**small)
    side, count = config.vision_config.image_size, config.text_config.vocab_size
    _save(CLIPModel(config), folder)
    CLIPImageProcessor(size={"shortest_edge": side}, crop_size=side).save_pretrained(folder)
    pieces = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS)]
    pieces += [f"unused{number}" for number in range(count - len(pieces) - 2)]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)


def _bert(folder: Path, **small: Any) -> None:
    """110 M parameters. small: what is not as published."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(**small)
    _save(BertForMaskedLM(config), folder)
    _word_pieces(folder, config.vocab_size)


def _save(model: nn.Module, folder: Path) -> None:
    model.to(torch.bfloat16).save_pretrained(folder)


def _word_pieces(folder: Path, count: int) -> None:
    """In BERT's order: [PAD] first, the other marks from 100 on; letters, which any word is made of, from 200 on."""
    from transformers import BertTokenizer

    pieces = ["".join(letters) for letters in islice(product(_LETTERS, repeat=4), count)]
    pieces[0], pieces[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces[200:252] = [*_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)


_SPREAD = {"initializer_range": 0.05}
_TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
_TINY_VISION = _TINY | {"image_size": 32, "patch_size": 16}
SIZES: Mapping[str, Callable[[Path], None]] = {
    # further from zero than GIT's own, so that captions differ from clip to clip
    "git-base": lambda folder: _git(folder, vision_config=_SPREAD, **_SPREAD),
    "blip-base": _blip,
    "clip-vit-base-patch16": lambda folder: _clip(folder, vision_config={"patch_size": 16}),
    "clip-vit-base-patch32": _clip,
    "bert-base": _bert,
    "bert-tiny": lambda folder: _bert(folder, **_TINY),
    "git-tiny": lambda folder: _git(folder, vision_config=_TINY_VISION, **_TINY),
    "clip-tiny": lambda folder: _clip(folder, vision_config=_TINY_VISION, text_config=_TINY, projection_dim=32),
}
