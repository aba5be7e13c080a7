import numpy as np
import pytest

from platform.datasets import poses
from platform.datasets.poses import has_pose_descriptor, pose_descriptor, pose_descriptors
from platform.datasets.simulator.body import AXES, CHAINS, bone_offsets, joint_positions
from platform.errors import InputError

V1_JOINTS_IN_V2 = [3, 20, 1, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]


def moving(chain: str, frames: int = 50) -> np.ndarray:
    """(T, 25, 3): one limb lifts and comes down."""
    angles = np.zeros((frames, len(CHAINS), len(AXES)))
    angles[:, CHAINS.index(chain), 0] = 1.5 * np.sin(np.linspace(0, np.pi, frames))
    return joint_positions(angles, bone_offsets(1.7))


@pytest.mark.parametrize(("layout", "joints"), [("kinect_v1", 20), ("kinect_v2", 25)])
@pytest.mark.parametrize("frames", [1, 2, 64, 300])
def test_finite_for_any_length_even_where_nothing_was_tracked(layout, joints, frames):
    clips = np.random.default_rng(0).normal(size=(frames, joints, 3)), np.zeros((frames, joints, 3))
    for clip in clips:
        descriptor = pose_descriptor(clip, layout)
        assert descriptor.shape == (465,)
        assert descriptor.dtype == np.float32
        assert np.isfinite(descriptor).all()


def test_the_same_body_gives_the_same_numbers_in_both_layouts():
    clip = moving("left arm")
    np.testing.assert_array_equal(
        pose_descriptor(clip, "kinect_v2"), pose_descriptor(clip[:, V1_JOINTS_IN_V2], "kinect_v1")
    )


@pytest.mark.parametrize("degrees", [0, 45, 180, 300])
def test_where_a_body_stands_faces_and_how_tall_it_is_do_not_matter(degrees):
    clip = moving("right leg")
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    elsewhere = 1.3 * clip @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) + [0.4, -0.2, 3.0]
    expected = pose_descriptor(clip, "kinect_v2")
    np.testing.assert_allclose(pose_descriptor(elsewhere, "kinect_v2"), expected, atol=2e-3)


def test_left_and_right_arms_and_legs_are_told_apart():
    descriptors = pose_descriptors([moving(chain) for chain in CHAINS[:4]], "kinect_v2")
    limb_shares = descriptors[:, -4:]  # left arm, right arm, left leg, right leg
    np.testing.assert_array_equal(limb_shares.argmax(axis=1), np.arange(4))


def test_a_batch_equals_its_clips_one_by_one():
    clips = [moving("head", 30), moving("trunk", 71)]
    batch = pose_descriptors(clips, "kinect_v2")
    np.testing.assert_allclose(batch, [pose_descriptor(clip, "kinect_v2") for clip in clips], atol=1e-5)
    assert pose_descriptors([], "kinect_v2").shape == (0, 465)


def test_many_clips_are_described_as_few_are(monkeypatch):
    clips = [moving(chain, 20 + i) for i, chain in enumerate(CHAINS)]
    expected = pose_descriptors(clips, "kinect_v2")
    monkeypatch.setattr(poses, "_BATCH", 4)
    np.testing.assert_allclose(pose_descriptors(iter(clips), "kinect_v2"), expected, atol=1e-5)


def test_a_slower_camera_sees_the_same_speeds():
    clip = moving("left arm", 61)
    slower = pose_descriptor(clip[::2], "kinect_v2", rate=15)
    np.testing.assert_allclose(slower, pose_descriptor(clip, "kinect_v2"), atol=0.1)
    speeds = slice(20 * 18, 20 * 20)
    faster = pose_descriptor(clip[::2], "kinect_v2")[speeds]
    np.testing.assert_allclose(faster.max(), 2 * slower[speeds].max(), rtol=0.01)


@pytest.mark.parametrize(("layout", "shape"), [("penn_13", (4, 13, 3)), ("coco_17", (4, 17, 3))])
def test_skeletons_in_the_image_have_no_pose_descriptor(layout, shape):
    assert not has_pose_descriptor(layout)
    with pytest.raises(
        InputError, match=f"no pose descriptor for layout {layout}: it needs joints in space, as kinect"
    ):
        pose_descriptors([np.zeros(shape)], layout)


def test_one_lost_frame_does_not_set_the_peak_speed():
    clip = moving("left leg")
    spiked = clip.copy()
    spiked[20, 7] += 1.0
    difference = pose_descriptor(spiked, "kinect_v2") - pose_descriptor(clip, "kinect_v2")
    assert np.abs(difference).max() < 0.1


@pytest.mark.parametrize("shape", [(0, 25, 3), (10, 20, 3), (10, 25, 2), (10, 1, 25, 3)])
def test_a_clip_of_the_wrong_shape_is_refused(shape):
    with pytest.raises(InputError, match="kinect_v2 needs"):
        pose_descriptor(np.zeros(shape), "kinect_v2")
