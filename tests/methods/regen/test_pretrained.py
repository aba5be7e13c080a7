"""Models that cannot be loaded, in one line each."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from methods.regen.captioners import load_captioner
from platform.errors import InputError


@pytest.fixture
def folder(models, tmp_path):
    """A copy of the tiny GIT, to be broken."""
    return Path(shutil.copytree(models("git"), tmp_path / "git"))


def _line(name, match):
    with pytest.raises(InputError, match=match) as caught:
        load_captioner(str(name), 2, "cpu")
    assert str(caught.value).isprintable()


def test_a_folder_that_is_not_there_or_is_no_model(tmp_path):
    _line(tmp_path / "nothing", "there is no such folder; give a Hugging Face id or a folder")
    _line(tmp_path, r"the folder has no config\.json")


def test_a_model_of_another_type_is_named(models):
    _line(models("bert"), "its model_type is bert; give a model of type git or blip")


def test_a_folder_without_tokenizer(folder):
    for file in [*folder.glob("tokenizer*"), *folder.glob("vocab*"), *folder.glob("special*")]:
        file.unlink()
    _line(folder, "has no tokenizer.*give a folder into which the tokenizer was saved too")


def test_a_folder_without_image_processor_or_with_anothers(folder):
    file = folder / "preprocessor_config.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {"crop_size": {"height": 24, "width": 24}}))
    _line(folder, "its image processor gives 24 × 24 pixels, the model takes 16 × 16")
    file.unlink()
    _line(folder, r"has no image processor.*preprocessor_config\.json")


def test_a_pickle_is_never_loaded(folder):
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    _line(folder, "the folder has no safetensors file: load the model elsewhere and write it with save_pretrained")


def test_weights_that_are_missing_are_not_made_up(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["output.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _line(folder, r"no weights of a GitForCausalLM: `output\.weight` is not there \(1 in all\)")
    (folder / "model.safetensors").write_bytes(b"nonsense")
    _line(folder, "cannot be loaded")


def test_a_model_that_cannot_be_fetched(monkeypatch, capfd):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    _line("nobody/no-such-model", "where there is no network, give a folder")
    assert capfd.readouterr() == ("", "")
    assert not constants.HF_HUB_OFFLINE


def test_loading_moves_no_generator(models):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_captioner(models("blip"), 1, "cpu")
    assert torch.equal(torch.rand(3), expected)
