import numpy as np

from benchmarks.regen_world.data import data_folder
from benchmarks.regen_world.world import SPLIT, World
from platform.datasets.folder import Dataset


def test_a_worlds_clips_are_a_data_folder_that_says_that_they_are_simulated(tmp_path):
    made = World(tmp_path, seed=0, subjects=1)
    dataset = Dataset(data_folder(made))
    assert dataset.card.simulated
    assert dataset.card.features["frames"].kind == "frames"
    assert SPLIT in dataset.splits
    frames = dataset.features("frames")
    assert tuple(frames.shape) == made.clips.frames.shape
    difference = np.abs(frames.decoded().numpy().astype(int) - made.clips.frames.astype(int))
    assert difference.mean() < 5  # JPEG
    assert dataset.references == [list(own) for own in made.clips.captions]
    assert data_folder(made) == tmp_path / "data"  # written once
