"""ERPCNet's preset for a CPU on ImageNet's SqueezeNet, whose losses overflow where gradients are not cut."""

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_loop import fitted_until

from methods import erpcnet
from platform.datasets.folder import write_dataset
from platform.datasets.readers import ImportOptions, read
from platform.datasets.readers.squares import square
from platform.method import Member
from platform.zeroshot.task import Task

DATA = Path(os.environ.get("UNSEEN_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve() / "images"
CLASSES, EACH, EPOCHS = 6, 8, 6

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (DATA / "caltech40.zip").exists(), reason=f"no pictures in UNSEEN_DATA ({DATA})"),
]


class Epochs:
    device, rank, world_size = torch.device("cpu"), 0, 1

    def __init__(self, epochs):
        self.losses, self.epochs = [], epochs

    def epoch_end(self, losses, models, states):
        self.losses.append(losses[0])
        return len(self.losses) < self.epochs

    def average(self, gradients):
        return gradients


@pytest.fixture
def few(tmp_path):
    """A few pictures of a few classes."""
    with zipfile.ZipFile(DATA / "caltech40.zip") as pictures, zipfile.ZipFile(tmp_path / "few.zip", "w") as few:
        names = [name for name in sorted(pictures.namelist()) if name.endswith(".jpg")]
        for folder in sorted({name.rpartition("/")[0] for name in names})[:CLASSES]:
            for name in [name for name in names if name.startswith(f"{folder}/")][:EACH]:
                few.writestr(name, pictures.read(name))
    return tmp_path / "few.zip"


def imported(few, folder, exact=None):
    """A task of all pictures."""
    dataset = write_dataset(read("images", few, ImportOptions(size=128, exact=exact)), folder)
    seen = tuple(info.name for info in dataset.classes)
    labels = torch.tensor(dataset.labels).long()
    return Task(seen, ("another",), dataset.features("pictures"), labels, torch.eye(CLASSES + 1))


def losses(task, epochs):
    weights = str(DATA / "squeezenet1_0_imagenet.safetensors")
    fields = {"backbone": "squeezenet1_0", "weights": weights, "sampler": "random"}
    run = Epochs(epochs)
    fitted_until(erpcnet.method, [Member(task, erpcnet.method.configure(fields, "small"), 0)], run)
    return run.losses


def test_the_small_preset_trains(few, tmp_path):
    found = losses(imported(few, tmp_path / "few"), EPOCHS)
    first, last = (sum(own[name] for name in ("global", "local", "joint")) for own in found[:: EPOCHS - 1])
    assert last < 0.6 * first


def test_exact_pictures_train_bit_by_bit_as_pixels_in_memory_and_jpeg_close_to_them(few, tmp_path):
    exact, jpeg = (imported(few, tmp_path / str(kept), kept) for kept in (True, None))
    with zipfile.ZipFile(few) as pictures:
        pixels = [torch.tensor(square(pictures.read(name), 128)).flatten() for name in sorted(pictures.namelist())]
    expected = losses(replace(exact, features=torch.stack(pixels)), 2)
    assert losses(exact, 2) == expected
    for own, theirs in zip(losses(jpeg, 2), expected, strict=True):
        assert own["global"] == pytest.approx(theirs["global"], rel=0.1)
