from collections import Counter

import numpy as np
import pytest
from skeletons import body, clip_of

from platform.errors import InputError
from platform.features.joints import joint_index
from platform.features.preparation import Preparation, bodies_shown, prepared

SPINE, HIPS, LEFT, RIGHT = (
    joint_index("kinect_v1", name) for name in ("spine", "hip centre", "left shoulder", "right shoulder")
)


def made(clip, odd=None, **options):
    """(T, M, V, 3), which reads more easily than what the networks take."""
    preparation = Preparation(**{"frames": 8, "bodies": 1, **options})
    return prepared(clip, "kinect_v1", preparation, odd).transpose(1, 3, 2, 0)


@pytest.fixture
def clip():
    return clip_of("raise", 6, np.random.default_rng(0))


def rotated(clip, axis, angle):
    axis = np.array(axis) / np.linalg.norm(axis)
    cross = np.cross(np.eye(3), axis)
    return clip @ (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross).T


def test_short_clips_end_in_zeros_or_repeat_or_are_stretched(clip):
    zeros, loop = made(clip, lengthen="zeros"), made(clip, lengthen="loop")
    np.testing.assert_array_equal(zeros[:6], clip)
    assert not zeros[6:].any()
    np.testing.assert_array_equal(loop[6:], clip[:2])
    stretched = made(clip[:3], lengthen="resample", frames=4)
    expected = [clip[0], clip[0] / 3 + clip[1] * 2 / 3, clip[1] * 2 / 3 + clip[2] / 3, clip[2]]
    np.testing.assert_allclose(stretched, expected, atol=1e-6)


@pytest.mark.parametrize("lengthen", ["zeros", "loop"])
def test_long_clips_lose_frames_evenly_and_are_counted(clip, lengthen):
    odd = Counter()
    np.testing.assert_array_equal(made(clip, odd, frames=4, lengthen=lengthen), clip[[0, 2, 3, 5]])
    assert odd == {"long": 1}


def test_the_origin_is_the_spine_of_the_first_or_of_every_frame(clip):
    first, every = made(clip, centre="first_frame"), made(clip, centre="every_frame")
    np.testing.assert_allclose(first[:6], clip - clip[0, 0, SPINE], atol=1e-6)
    np.testing.assert_allclose(every[:6, 0, SPINE], 0, atol=1e-7)
    np.testing.assert_allclose(every[:6], clip - clip[:, :, [SPINE]], atol=1e-6)


def test_a_trunk_turned_upright_looks_the_same_from_everywhere(clip):
    options = {"centre": "first_frame", "turn": "trunk"}
    turned = made(clip, **options)
    up, across = turned[0, 0, SPINE] - turned[0, 0, HIPS], turned[0, 0, RIGHT] - turned[0, 0, LEFT]
    np.testing.assert_allclose(up / np.linalg.norm(up), [0, 0, 1], atol=1e-6)
    assert abs(across[1]) < 1e-6
    assert across[0] > 0
    elsewhere = rotated(clip, [1, 2, -0.5], 1.1) + np.array([1, -2, 3])
    np.testing.assert_allclose(made(elsewhere, **options), turned, atol=1e-5)


def test_a_body_turned_to_face_one_way_looks_the_same_from_every_side(clip):
    options = {"centre": "first_frame", "turn": "facing"}
    turned = made(clip, **options)
    across = turned[:6, 0, LEFT] - turned[:6, 0, RIGHT]
    assert across[:, 0].min() > 0.2  # its left at +x, so that it faces +z
    assert abs(across[:, 2].mean()) < 0.02
    np.testing.assert_allclose(turned[:6, 0, :, 1], (clip - clip[0, 0, SPINE])[:, 0, :, 1], atol=1e-6)  # y stays
    np.testing.assert_allclose(made(rotated(clip, [0, 1, 0], 2.2) + np.ones(3), **options), turned, atol=1e-5)


def test_a_scaled_body_has_a_torso_of_length_one(clip):
    torso = made(clip, centre="every_frame", scale="torso")[:6, 0]
    length = np.linalg.norm(torso[:, joint_index("kinect_v1", "shoulder centre")] - torso[:, HIPS], axis=1)
    assert length.mean() == pytest.approx(1, abs=1e-5)


def test_the_larger_skeletons_joints_are_taken_from_the_smaller_ones(clip):
    found = prepared(clip, "kinect_v1", Preparation(frames=8, layout="kinect_v2"))
    assert found.shape == (3, 8, 25, 2)
    tip, hand = joint_index("kinect_v2", "left hand tip"), joint_index("kinect_v1", "left hand")
    np.testing.assert_array_equal(found[:, :6, tip, 0], clip[:, 0, hand].T)


def test_the_body_that_moves_most_comes_first_and_a_missing_one_is_zeros(clip):
    still = np.repeat(clip[:1] + np.float32(2), 6, axis=0)
    odd = Counter()
    both = made(np.concatenate([still, clip], axis=1), odd, bodies=2)
    np.testing.assert_array_equal(both[:6, 0], clip[:, 0])
    np.testing.assert_array_equal(both[:6, 1], still[:, 0])
    assert odd == {"two bodies": 1}
    assert not made(clip, bodies=2, centre="first_frame")[:, 1].any()
    one = made(np.concatenate([still, clip], axis=1), odd, bodies=1)
    np.testing.assert_array_equal(one[:6], clip)
    assert odd == {"two bodies": 2, "more bodies": 1}


def test_a_second_body_stays_where_it_stands_to_the_first(clip):
    other = clip + np.array([0.5, 0.1, 0.2], np.float32)
    other[3:] = 0
    options = {"bodies": 2, "centre": "first_frame", "turn": "facing", "lengthen": "resample", "frames": 12}
    found = made(np.concatenate([clip, other], axis=1), **options)
    apart = np.linalg.norm(found[:, 1] - found[:, 0], axis=2)
    there = found.any(axis=(2, 3)).all(axis=1)
    np.testing.assert_allclose(apart[there], np.linalg.norm([0.5, 0.1, 0.2]), atol=1e-5)
    assert there.sum() == 5  # frames 0 to 2 of 6, stretched to 12: it goes at once, not towards the origin


@pytest.mark.parametrize("lengthen", ["zeros", "loop", "resample"])
@pytest.mark.parametrize(("centre", "turn"), [("none", "none"), ("first_frame", "trunk"), ("every_frame", "facing")])
def test_odd_clips_are_valid_and_counted(clip, lengthen, centre, turn):
    gaps = clip.copy()
    gaps[[0, 3]] = 0
    broken = clip.copy()
    broken[2, 0, 5] = np.nan
    everywhere_alike = np.ones_like(clip)
    for odd_clip, expected in (
        (np.zeros_like(clip), {"empty": 1}),
        (clip[:0], {"empty": 1}),
        (clip[:1], {"one frame": 1}),
        (gaps, {"missing frames": 1}),
        (broken, {"missing frames": 1, "not finite": 1}),
        (everywhere_alike, {"not turned": 1} if turn != "none" else {}),
    ):
        odd = Counter()
        found = made(odd_clip, odd, lengthen=lengthen, centre=centre, turn=turn, scale="torso")
        assert found.shape == (8, 1, 20, 3)
        assert np.isfinite(found).all()
        assert odd == expected
    np.testing.assert_array_equal(
        made(gaps, lengthen=lengthen, centre=centre), made(clip[[1, 2, 4, 5]], lengthen=lengthen, centre=centre)
    )


def test_bodies_are_counted_by_what_they_show(clip):
    both = np.concatenate([clip, np.zeros_like(clip), clip], axis=1)
    assert [bodies_shown(c) for c in (clip, both, np.zeros_like(clip))] == [1, 2, 0]


@pytest.mark.parametrize("shape", [(6, 20, 3), (6, 1, 25, 3), (6, 1, 20, 2)])
def test_a_clip_of_another_shape_is_refused(shape):
    with pytest.raises(InputError, match=r"layout kinect_v1 needs \(frames, bodies, 20, 3\)"):
        made(np.ones(shape))


def test_the_body_of_these_tests_faces_the_camera():
    assert body()[LEFT, 0] > body()[RIGHT, 0]


def test_masked_frames_are_those_that_move_most_and_some_drawn():
    frames = 20
    still = np.repeat(body()[None, None], frames, axis=0)
    moving = still.copy()
    moving[5:10, :, 0, 1] += np.arange(5)[:, None] + 1.0  # the head leaps: frames 5 to 9, and back at 10
    options = {"lengthen": "zeros", "frames": 20, "bodies": 1}
    masked = made(moving, masked=0.3, **options)
    kept = [t for t in range(frames) if masked[t].any()]
    assert len(kept) == 8  # 20, less 6 twice
    assert np.ptp(masked[:8, 0, 0, 1]) == 0  # none of the moving ones
    np.testing.assert_array_equal(made(moving, masked=0.3, **options), masked)
    np.testing.assert_array_equal(made(moving, **options)[:5], made(still, **options)[:5])


def test_a_masked_frame_of_one_stays():
    assert made(body()[None, None], masked=0.4, lengthen="loop", frames=8, bodies=1).any()


def test_joints_that_no_map_knows_are_refused_by_name():
    with pytest.raises(InputError, match=r"layout penn_13: .* take kinect_v1 or kinect_v2"):
        prepared(np.zeros((4, 1, 13, 3)), "penn_13", Preparation(bodies=1))
