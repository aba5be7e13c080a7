import json

import pytest
import torch
from made_regen import SIDE, clips
from torch.nn.functional import normalize

from methods.regen import clip_towers
from methods.regen.clip_towers import load_clip
from platform.errors import InputError

TEXTS = ["a man", "ball", "a woman throws the ball in the snow"]


def _transformers(models):
    from transformers import CLIPModel

    clip = CLIPModel.from_pretrained(models("clip")).eval()
    return load_clip(models("clip"), "cpu"), clip


@pytest.fixture(scope="module")
def open_clip_file(tmp_path_factory):
    """A tiny architecture that open_clip knows for the session, and a file of random weights of it."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("open_clip")
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": SIDE, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    (folder / "tiny-regen.json").write_text(json.dumps({"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(folder / "tiny-regen.json")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = open_clip.create_model("tiny-regen")
    save_file(network.state_dict(), folder / "weights.safetensors")
    return folder / "weights.safetensors", network.eval()


def test_texts_are_transformers_features_of_length_1(models, monkeypatch):
    towers, clip = _transformers(models)
    monkeypatch.setattr(clip_towers, "_BATCH", 2)
    found = towers.text(TEXTS)
    for text, own in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            features = clip.get_text_features(towers.token_ids([text])).pooler_output
        torch.testing.assert_close(own, normalize(features[0], dim=0))
    assert not found.requires_grad


def test_a_long_text_is_cut_off_with_its_end_token(models):
    towers, clip = _transformers(models)
    ids = towers.token_ids(["man " * 100, "a"])
    assert ids.shape == (2, 24)
    assert ids[0, -1] == clip.config.text_config.eos_token_id
    torch.testing.assert_close(towers.text(["man " * 100]), towers.text(["man " * 50]))


def test_a_clip_is_the_mean_of_its_frames_directions(models, monkeypatch):
    towers, clip = _transformers(models)
    monkeypatch.setattr(clip_towers, "_BATCH", 4)
    frames = clips(3, 2)
    found = towers.frames(frames)
    with torch.no_grad():
        each = clip.get_image_features(towers._pixels(frames.flatten(0, 1))).pooler_output
    torch.testing.assert_close(found, normalize(each, dim=-1).view(3, 2, -1).mean(dim=1))


def test_towers_are_frozen_and_lend_a_copy_of_the_text_tower(models):
    towers, _ = _transformers(models)
    towers.train()
    assert not any(part.training for part in towers.modules())
    assert not any(own.requires_grad for own in towers.parameters())
    tower = towers.trainable_text_tower()
    ids = towers.token_ids(TEXTS)
    torch.testing.assert_close(normalize(tower(ids), dim=-1), towers.text(TEXTS))
    tower(ids).sum().backward()
    assert not any(own.requires_grad for own in towers.parameters())
    theirs = {id(own) for own in towers.parameters()}
    assert not any(id(own) in theirs for own in tower.parameters())


def test_open_clip_gives_its_own_embeddings(open_clip_file):
    file, network = open_clip_file
    towers = load_clip(f"open_clip:tiny-regen/{file}", "cpu")
    from open_clip import get_tokenizer
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    with torch.no_grad():
        torch.testing.assert_close(
            towers.text(TEXTS), network.encode_text(get_tokenizer("tiny-regen")(TEXTS), normalize=True)
        )
        frames = clips(2, 2)
        transform = image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)
        pictures = [transform(Image.fromarray(own.permute(1, 2, 0).numpy())) for own in frames.flatten(0, 1)]
        each = network.encode_image(torch.stack(pictures), normalize=True)
    # torch's resizing of uint8 pictures rounds at other places than Pillow's
    torch.testing.assert_close(towers.frames(frames), each.view(2, 2, -1).mean(dim=1), atol=0.02, rtol=0)
    assert towers.trainable_text_tower()(towers.token_ids(TEXTS)).requires_grad


def test_what_is_no_clip_is_one_line(models, open_clip_file, tmp_path):
    wrong = tmp_path / "weights.pt"
    torch.save(torch.nn.Linear(2, 2), wrong)
    for name, match in [
        (models("bert"), "its model_type is bert; give a model of type clip"),
        (
            "open_clip:tiny-regn/x",
            "clip `open_clip:tiny-regn/x`: open_clip has no model `tiny-regn`; near",
        ),
        ("open_clip:tiny-regen", "no published weights; write open_clip:tiny-regen/FILE"),
        (f"open_clip:tiny-regen/{wrong}", "cannot be loaded .*; where there is no network, give open_clip:"),
    ]:
        with pytest.raises(InputError, match=match) as caught:
            load_clip(name, "cpu")
        assert str(caught.value).isprintable()
