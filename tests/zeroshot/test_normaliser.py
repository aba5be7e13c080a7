import json
from typing import get_args

import numpy as np
import pytest
import torch
from made_frames import SIDE, greys, write_frames, write_pictures
from sklearn.preprocessing import MinMaxScaler, StandardScaler, normalize

from platform.datasets.contents import Normalisation
from platform.errors import InputError
from platform.population.draws import generator
from platform.zeroshot.normaliser import Normaliser
from platform.zeroshot.task import Samples, Task

TRAINING = torch.randn(20, 4, generator=generator(0)) * torch.tensor([1.0, 5.0, 0.1, 1.0]) + 3
OTHER = torch.randn(7, 4, generator=generator(1)) * 10


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("none", lambda x: x),
        ("scale", lambda x: x / np.sqrt((TRAINING.numpy() ** 2).mean())),
        ("standard", StandardScaler().fit(TRAINING.numpy()).transform),
        ("minmax", MinMaxScaler().fit(TRAINING.numpy()).transform),
        ("l2", normalize),
    ],
)
def test_other_samples_are_scaled_by_the_training_samples(kind, expected):
    normaliser = Normaliser.fit(kind, TRAINING)
    for features in (TRAINING, OTHER):
        np.testing.assert_allclose(normaliser(features).numpy(), expected(features.numpy()), rtol=1e-4, atol=1e-5)


def test_features_that_need_no_scaling_are_not_copied():
    normaliser = Normaliser.fit("none", TRAINING)
    assert normaliser(OTHER) is OTHER
    assert Normaliser.from_record(normaliser.record())(OTHER) is OTHER


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_a_constant_dimension_stays_finite(kind):
    constant = TRAINING.clone()
    constant[:, 2] = 4.0
    assert Normaliser.fit(kind, constant)(constant)[:, 2].tolist() == [0.0] * 20


def test_a_row_of_zeros_stays_one_at_unit_length():
    assert not Normaliser.fit("l2", TRAINING)(torch.zeros(2, 4)).any()


@pytest.mark.parametrize("kind", get_args(Normalisation))
def test_the_record_survives_json(kind):
    normaliser = Normaliser.fit(kind, TRAINING)
    again = Normaliser.from_record(json.loads(json.dumps(normaliser.record())))
    assert torch.equal(again(OTHER), normaliser(OTHER))


def test_a_task_and_its_samples_are_scaled_alike():
    task = Task(("a",), ("b",), TRAINING, torch.zeros(20, dtype=torch.long), torch.eye(2))
    samples = Samples(OTHER, torch.ones(7, dtype=torch.long))
    normaliser = Normaliser.fit("standard", TRAINING)
    scaled_task, scaled_samples = normaliser.apply(task, samples)
    assert torch.equal(scaled_task.features, normaliser(TRAINING))
    assert torch.equal(scaled_samples.features, normaliser(OTHER))
    assert torch.equal(scaled_samples.labels, samples.labels)


def test_pixels_pass_as_they_are_and_by_reference():
    pixels = torch.arange(24, dtype=torch.uint8).reshape(2, 12)
    normaliser = Normaliser.fit("none", pixels)
    again = Normaliser.from_record(json.loads(json.dumps(normaliser.record())))
    for one in (normaliser, again):
        assert one(pixels) is pixels
        assert len(one.shift) == 12
    assert len(json.dumps(normaliser.record())) < 40


def test_frames_pass_as_they_are_and_no_others_do(tmp_path):
    frames = write_frames(tmp_path / "f.arrow", greys(3))
    normaliser = Normaliser.fit("none", frames)
    again = Normaliser.from_record(json.loads(json.dumps(normaliser.record())))
    for one in (normaliser, again):
        assert one(frames) is frames
        assert len(one.shift) == 2 * 3 * SIDE**2
        with pytest.raises(InputError, match="trained on encoded frames; it is given float32"):
            one(OTHER)
        with pytest.raises(InputError, match="trained on 2 frames of 16 x 16 a sample; it is given 3 frames of 16 x 1"):
            one(write_frames(tmp_path / "g.arrow", greys(2, frames=3)))
    for other in (Normaliser.of_pixels(4), Normaliser.fit("standard", TRAINING)):
        with pytest.raises(InputError, match=r"the model was trained on .*; it is given encoded frames"):
            other(frames)


def test_encoded_pictures_pass_as_they_are_and_no_others_do(tmp_path):
    pictures = write_pictures(tmp_path / "p.arrow", np.zeros((2, 3, 8, 8), np.uint8))
    normaliser = Normaliser.fit("none", pictures)
    again = Normaliser.from_record(json.loads(json.dumps(normaliser.record())))
    for one in (normaliser, again):
        assert one(pictures) is pictures
        assert (one.kind, one.exact, len(one.shift)) == ("pictures", True, 3 * 8**2)
        with pytest.raises(InputError, match="trained on encoded pictures; it is given encoded frames"):
            one(write_frames(tmp_path / "f.arrow", greys(2, frames=1), side=8))
        with pytest.raises(InputError, match="trained on a picture of 8 x 8 a sample; it is given a picture of 9 x 9"):
            one(write_pictures(tmp_path / "large.arrow", np.zeros((2, 3, 9, 9), np.uint8)))
    with pytest.raises(InputError, match="trained on pixels, uint8; it is given encoded pictures"):
        Normaliser.of_pixels(192)(pictures)


@pytest.mark.parametrize("kind", ["standard", "minmax", "l2"])
def test_pixels_and_frames_are_not_normalised(kind, tmp_path):
    with pytest.raises(InputError, match=f"--normalise {kind}: the features are pixels"):
        Normaliser.fit(kind, torch.zeros(2, 12, dtype=torch.uint8))
    with pytest.raises(InputError, match=f"--normalise {kind}: the features are frames, given to a method as they are"):
        Normaliser.fit(kind, write_frames(tmp_path / "f.arrow", greys(3)))


def test_a_model_of_pixels_is_given_pixels_and_another_is_not():
    pixels = torch.zeros(2, 4, dtype=torch.uint8)
    with pytest.raises(InputError, match="trained on pixels, uint8; it is given float32"):
        Normaliser.of_pixels(4)(OTHER)
    with pytest.raises(InputError, match="trained on features that are no pixels; it is given uint8"):
        Normaliser.fit("standard", TRAINING)(pixels)
