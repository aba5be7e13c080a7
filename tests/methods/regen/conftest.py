"""Tiny random models in Hugging Face's own folder format, made once a session."""

import json

import pytest
import torch
from made_regen import MERGES, SIDE, WORDPIECES, bpe_vocabulary

HIDDEN = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
# weights far from zero, so that attention and words differ
SPREAD = {"initializer_range": 0.4}
TEXT = HIDDEN | SPREAD | {"vocab_size": len(WORDPIECES), "max_position_embeddings": 24}
VISION = HIDDEN | SPREAD | {"image_size": SIDE, "patch_size": 8}


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads that wait for each other cost tiny models more than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A function of a name, such as git or bert, to the folder of such a model."""
    made = {}

    def folder(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            with torch.random.fork_rng():
                torch.manual_seed(7)
                MAKERS[name](made[name])
        return str(made[name])

    return folder


def _git(folder, **values):
    from transformers import CLIPImageProcessor, GitConfig, GitForCausalLM

    config = GitConfig(vision_config=VISION, bos_token_id=2, eos_token_id=3, pad_token_id=0, **TEXT, **values)
    network = GitForCausalLM(config)
    for own in getattr(network.git, "img_temporal_embedding", ()):
        torch.nn.init.normal_(own)
    network.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder)
    _wordpiece(folder)


def _blip(folder):
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

    text = TEXT | {"encoder_hidden_size": 16, "bos_token_id": 5, "sep_token_id": 3, "pad_token_id": 0}
    network = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=VISION))
    network.save_pretrained(folder)
    BlipImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    _wordpiece(folder)


def _clip(folder):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    vocabulary = bpe_vocabulary()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]))
    ends = {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"]}
    text = HIDDEN | {"vocab_size": len(vocabulary), "max_position_embeddings": 24} | ends
    config = CLIPConfig(
        text_config=text, vision_config=HIDDEN | {"image_size": SIDE, "patch_size": 8}, projection_dim=8
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder)


def _bert(folder):
    from transformers import BertConfig, BertForMaskedLM

    BertForMaskedLM(BertConfig(**TEXT)).save_pretrained(folder)
    _wordpiece(folder)


def _distilbert(folder):
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    config = DistilBertConfig(
        vocab_size=len(WORDPIECES), dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=24, **SPREAD
    )
    DistilBertForMaskedLM(config).save_pretrained(folder)
    _wordpiece(folder)


def _deberta(folder, **values):
    from transformers import DebertaConfig, DebertaForMaskedLM

    positions = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}
    DebertaForMaskedLM(DebertaConfig(**TEXT, **positions, type_vocab_size=0, **values)).save_pretrained(folder)
    _wordpiece(folder)


def _published_deberta(folder):
    """As DeBERTa's authors published it: with a head that the configuration does not tell of."""
    _deberta(folder, legacy=False)
    config = json.loads((folder / "config.json").read_text())
    del config["legacy"]
    (folder / "config.json").write_text(json.dumps(config))


def _wordpiece(folder):
    from transformers import BertTokenizer

    (folder / "vocab.txt").write_text("\n".join(WORDPIECES))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)


MAKERS = {
    "git": _git,
    "git of videos": lambda folder: _git(folder, num_image_with_embedding=2),
    "blip": _blip,
    "clip": _clip,
    "bert": _bert,
    "distilbert": _distilbert,
    "deberta": _deberta,
    "published deberta": _published_deberta,
}
