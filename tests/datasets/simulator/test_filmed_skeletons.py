import numpy as np
import pytest

from platform.datasets.contents import ClassInfo, Contents, Skeletons
from platform.datasets.simulator import simulate
from platform.datasets.simulator.captions import is_grammatical, named
from platform.datasets.simulator.filmed_skeletons import filmed_skeletons
from platform.errors import InputError


@pytest.fixture
def recorded():
    """Two clips of a standing body that lifts a hand, as Kinect v1 sees it."""
    heights = [0.6, 0.4, 0.1, 0, 0.35, 0.1, -0.1, -0.2, 0.35, 0.1, -0.1, -0.2, -0.1, -0.5, -0.9, -0.95]
    body = np.zeros((20, 3), np.float32)
    body[:, 1] = [*heights, -0.1, -0.5, -0.9, -0.95]
    body[4:8, 0], body[12:16, 0], body[8:12, 0], body[16:, 0] = -0.25, -0.1, 0.25, 0.1
    body[:, 2] = 3
    clips = np.repeat(body[None, None], 2, axis=0).repeat(30, axis=1)
    clips[1, 10:20, 6:8, 1] += 0.9
    return Contents(
        name="recorded", modality="skeleton", licence="none", source="a test",
        classes=[ClassInfo(name="stand"), ClassInfo(name="lift")], labels=np.array([0, 1]),
        train=np.array([True, False]), features={}, skeletons=Skeletons(list(clips[:, :, None]), "kinect_v1"),
    )  # fmt: skip


def test_clips_are_drawn_with_their_classes_and_the_same_seed_draws_the_same(recorded):
    clips, again = filmed_skeletons(recorded, side=32), filmed_skeletons(recorded, side=32)
    np.testing.assert_array_equal(clips.frames, again.frames)
    assert clips.frames.shape == (2, 4, 3, 32, 32)
    assert clips.class_names == ["stand", "lift"]
    assert clips.simulated
    hand = clips.joints[:, :, 7, 1]
    np.testing.assert_allclose(hand[0], hand[0, 0], atol=1e-6)
    assert hand[1].min() < hand[1].max() - 0.1


def test_captions_name_what_was_drawn_and_no_action(recorded):
    clips = filmed_skeletons(recorded, side=32)
    for factors, written in zip(clips.factors, clips.captions, strict=True):
        for text in written:
            assert is_grammatical(text)
            assert named(text) == {"colour": factors.colour, "background": factors.background}


def test_other_skeletons_are_refused():
    with pytest.raises(InputError, match="no skeletons of kinect_v1"):
        filmed_skeletons(simulate(subjects=2, repetitions=1))
