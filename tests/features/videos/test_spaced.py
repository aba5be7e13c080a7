import numpy as np
import pytest
from made_videos import brightening, moving, write_video

from platform.features.videos.decoding import Unreadable
from platform.features.videos.spaced import spaced_frames

pytest.importorskip("av")
_IDENTITY = b"".join(n.to_bytes(4, "big") for n in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))


def numbers(frames):
    """Which frame of `brightening` each is, from its mean grey."""
    return [round((frame.mean() - 16) / 8) for frame in frames]


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [
        (24, 4, [3, 9, 15, 21]),
        (10, 3, [1, 5, 8]),
        (5, 5, [0, 1, 2, 3, 4]),
        (3, 8, [0, 0, 0, 1, 1, 2, 2, 2]),
        (1, 4, [0, 0, 0, 0]),
        (7, 1, [3]),
    ],
)
def test_frames_are_the_middles_of_equal_parts(tmp_path, total, count, expected):
    path = write_video(tmp_path / "v.mp4", brightening(total))
    frames = list(spaced_frames(path, count))
    assert numbers(frames) == expected
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert frames[0].dtype == np.uint8


@pytest.mark.parametrize(("name", "codec"), [("v.avi", "mpeg4"), ("v.mkv", "mpeg4"), ("v.mpg", "mpeg1video")])
def test_other_containers_are_sampled_alike(tmp_path, name, codec):
    assert numbers(spaced_frames(write_video(tmp_path / name, brightening(24), codec=codec), 4)) == [3, 9, 15, 21]


def test_frames_that_come_out_of_order_are_in_order(tmp_path):
    path = write_video(tmp_path / "v.mp4", brightening(24), max_b_frames=2)
    assert numbers(spaced_frames(path, 4)) == [3, 9, 15, 21]


def turned(path, *corner):
    """Write the display matrix of a rotation into an .mp4's track header."""
    matrix = b"".join((n % (1 << 32)).to_bytes(4, "big") for n in (*corner[:2], 0, *corner[2:], 0, 0, 0, 1 << 30))
    content = path.read_bytes()
    start = content.index(_IDENTITY, content.index(b"tkhd"))
    path.write_bytes(content[:start] + matrix + content[start + len(matrix) :])
    return path


ONE = 1 << 16


@pytest.mark.parametrize(
    ("corner", "turns"),
    [((0, ONE, -ONE, 0), -1), ((-ONE, 0, 0, -ONE), 2), ((0, -ONE, ONE, 0), 1)],  # 90° clockwise, 180°, 270°
)
def test_a_video_that_lies_on_its_side_is_set_upright(tmp_path, corner, turns):
    path = write_video(tmp_path / "v.mp4", moving(4))
    (straight,) = spaced_frames(path, 1)
    (upright,) = spaced_frames(turned(path, *corner), 1)
    np.testing.assert_array_equal(upright, np.rot90(straight, turns))


def _cut(path):
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 3])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b""), "cannot be decoded"),
        (lambda path: path.write_text("no video"), "cannot be decoded"),
        (_cut, "cannot be decoded|is cut off"),
        (lambda path: path.unlink(), r"cannot be decoded \(No such file"),
    ],
)
def test_what_is_no_video_is_told(tmp_path, spoil, message):
    path = write_video(tmp_path / "v.mp4", moving(24))
    spoil(path)
    with pytest.raises(Unreadable, match=message):
        list(spaced_frames(path, 4))
