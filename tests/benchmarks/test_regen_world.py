"""ReGen's simulated world: made once, loaded as the Hugging Face library loads anything."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from benchmarks.regen_world import World, world
from benchmarks.regen_world.fitting import normalised, plain_patches, quick_patches
from benchmarks.regen_world.tokens import SPECIAL, image_processor, trained_tokenizer
from benchmarks.regen_world.world import Lessons
from platform.datasets.simulator.captions import corpus
from platform.errors import InputError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return world(tmp_path_factory.mktemp("world"), effort=0.005, subjects=4, teachers=1)


@pytest.mark.slow
def test_every_part_is_there_and_says_that_it_is_simulated(made):
    report = json.loads(made.report.read_text())
    assert report["simulated"]
    assert all(n > 0 for *_, n in report["reached"])
    assert "SIMULATED" in (made.folder / "README.md").read_text()
    assert len(made.corpus.read_text().splitlines()) == 6000
    assert not list(made.folder.glob(".*partial"))


@pytest.mark.slow
def test_the_models_load_with_their_tokenizer_and_image_processor(made):
    tokens = AutoTokenizer.from_pretrained(made.clip)("a red figure raises its left arm", return_tensors="pt")
    frames = made.clips.frames[:2, 0]
    pictures = AutoImageProcessor.from_pretrained(made.clip)(list(frames), return_tensors="pt").pixel_values
    torch.testing.assert_close(pictures, normalised(frames), atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        clip = AutoModel.from_pretrained(made.clip)(**tokens, pixel_values=pictures)
        assert clip.logits_per_image.shape == (2, 1)
        language = AutoModelForMaskedLM.from_pretrained(made.language)(**tokens)
        assert language.logits.shape[:2] == tokens.input_ids.shape
        captioner = AutoModelForCausalLM.from_pretrained(made.captioner)
        said = captioner.generate(pixel_values=pictures, input_ids=tokens.input_ids[:, :1].repeat(2, 1), max_length=8)
    assert said.shape[0] == 2
    vocabularies = {folder: AutoTokenizer.from_pretrained(folder).vocab_size
                    for folder in (made.clip, made.language, made.captioner)}  # fmt: skip
    assert len(set(vocabularies.values())) == 1


@pytest.mark.slow
def test_what_is_there_is_not_made_again_and_what_is_missing_is(made):
    clip = (made.clip / "model.safetensors").stat().st_mtime_ns
    assert world(made.folder, effort=0.005, subjects=4, teachers=1).rows() == made.rows()
    made.report.unlink()
    again = world(made.folder, effort=0.005, subjects=4, teachers=1)
    assert again.report.exists()
    assert (made.clip / "model.safetensors").stat().st_mtime_ns == clip


@pytest.mark.slow
def test_another_world_in_the_same_folder_is_refused(made):
    with pytest.raises(InputError, match="a world of seed 0, not 1"):
        world(made.folder, seed=1, effort=0.005, subjects=4, teachers=1)


def test_the_tokenizer_is_berts_and_reads_back_what_it_wrote(tmp_path):
    sentences = corpus(300, np.random.default_rng(0))
    trained_tokenizer(sentences).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL)) == list(range(5))
    ids = tokenizer(sentences[0]).input_ids
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert tokenizer.decode(ids, skip_special_tokens=True) == sentences[0]
    assert tokenizer.unk_token_id not in tokenizer(" ".join(sentences)).input_ids


def test_the_image_processor_does_what_the_trainings_do():
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), np.uint8)
    processed = image_processor(64)(list(frames), return_tensors="pt").pixel_values
    torch.testing.assert_close(processed, normalised(frames), atol=1e-5, rtol=1e-5)


def test_quick_patches_are_the_convolution():
    model = torch.nn.Module()
    model.patch_embedding = torch.nn.Conv2d(3, 5, kernel_size=8, stride=8, bias=False)
    pictures = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = model.patch_embedding(pictures)
    holder = torch.nn.ModuleList([model])
    quick_patches(holder)
    torch.testing.assert_close(model.patch_embedding(pictures), expected)
    plain_patches(holder)
    assert type(model.patch_embedding) is torch.nn.Conv2d


def test_the_models_learn_from_seen_classes_of_other_clips_than_the_data_sets(tmp_path):
    lessons, data = Lessons(seed=0, teachers=1).clips, World(tmp_path, seed=0, subjects=1)
    assert not lessons.of_classes(data.unseen).any()
    assert len(set(lessons.labels)) == len(data.clips.class_names) - len(data.unseen)
    assert not any((data.clips.frames == clip).all(axis=(1, 2, 3, 4)).any() for clip in lessons.frames)
