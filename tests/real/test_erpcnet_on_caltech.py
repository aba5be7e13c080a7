"""ERPCNet's preset for a CPU on ImageNet's SqueezeNet, whose losses overflow where gradients are not cut."""

import os
import zipfile
from pathlib import Path

import pytest
import torch
from training_loop import fitted_until

from methods import erpcnet
from platform.datasets.folder import write_dataset
from platform.datasets.readers import ImportOptions, read
from platform.method import Member
from platform.zeroshot.task import Task

DATA = Path(os.environ.get("UNSEEN_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve() / "images"
CLASSES, EACH, EPOCHS = 6, 8, 6

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (DATA / "caltech40.zip").exists(), reason=f"no pictures in UNSEEN_DATA ({DATA})"),
]


class SixEpochs:
    device, rank, world_size = torch.device("cpu"), 0, 1

    def __init__(self):
        self.losses = []

    def epoch_end(self, losses, models, states):
        self.losses.append(losses[0])
        return len(self.losses) < EPOCHS

    def average(self, gradients):
        return gradients


@pytest.fixture
def task(tmp_path):
    """A few pictures of a few classes."""
    with zipfile.ZipFile(DATA / "caltech40.zip") as pictures, zipfile.ZipFile(tmp_path / "few.zip", "w") as few:
        names = [name for name in sorted(pictures.namelist()) if name.endswith(".jpg")]
        for folder in sorted({name.rpartition("/")[0] for name in names})[:CLASSES]:
            for name in [name for name in names if name.startswith(f"{folder}/")][:EACH]:
                few.writestr(name, pictures.read(name))
    dataset = write_dataset(read("images", tmp_path / "few.zip", ImportOptions(size=128)), tmp_path / "few")
    features, labels = dataset.features("pictures"), torch.tensor(dataset.labels)
    seen = tuple(info.name for info in dataset.classes)
    return Task(seen, ("another",), features, labels.long(), torch.eye(CLASSES + 1))


def test_the_small_preset_trains(task):
    weights = str(DATA / "squeezenet1_0_imagenet.safetensors")
    fields = {"backbone": "squeezenet1_0", "weights": weights, "sampler": "random"}
    run = SixEpochs()
    fitted_until(erpcnet.method, [Member(task, erpcnet.method.configure(fields, "small"), 0)], run)
    first, last = (sum(losses[name] for name in ("global", "local", "joint")) for losses in run.losses[:: EPOCHS - 1])
    assert last < 0.6 * first
