import itertools

import numpy as np
import pytest
from made_videos import brightening, moving, write_video

from platform.features.videos.decoding import Unreadable, centre_crop, sampled_frames

pytest.importorskip("av")


def brightness(path, most=250, step=8):
    """Which frame of `brightening` each sampled frame is."""
    return [round((float(image.mean()) - 16) / step) for image in sampled_frames(path, most)]


def test_at_25_a_second_every_frame_is_taken(tmp_path):
    path = write_video(tmp_path / "a.avi", brightening(20))
    assert brightness(path) == list(range(20))


def test_a_faster_video_loses_frames_and_a_slower_one_repeats_them(tmp_path):
    fast = write_video(tmp_path / "fast.mp4", brightening(25), rate=50)
    assert brightness(fast) == list(range(0, 25, 2))
    odd = write_video(tmp_path / "odd.mp4", brightening(25), rate=30)
    assert brightness(odd) == [round(1.2 * k) for k in range(21)]
    slow = write_video(tmp_path / "slow.mp4", brightening(5), rate="25/2")
    assert brightness(slow) == [0, 0, 1, 1, 2, 2, 3, 3, 4]  # two are as near: the earlier one


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mp4"])
def test_frames_that_are_stored_in_another_order_come_in_the_right_one(tmp_path, suffix):
    path = write_video(tmp_path / f"b{suffix}", brightening(20), max_b_frames=2)
    assert brightness(path) == list(range(20))


def test_of_a_long_video_the_centre_is_taken(tmp_path):
    path = write_video(tmp_path / "long.avi", brightening(24))
    assert brightness(path, most=16) == list(range(4, 20))


def test_the_shorter_side_is_256_and_the_crop_is_the_centre(tmp_path):
    wide = write_video(tmp_path / "wide.avi", moving(3, height=48, width=64))
    tall = write_video(tmp_path / "tall.avi", moving(3, height=64, width=48))
    assert {image.shape for image in sampled_frames(wide, 250)} == {(256, 341, 3)}
    assert {image.shape for image in sampled_frames(tall, 250)} == {(341, 256, 3)}
    image = np.arange(256 * 341).reshape(256, 341)
    crop = centre_crop(image)
    assert crop.shape == (224, 224)
    assert crop[0, 0] == image[16, 58]


def test_frames_come_one_at_a_time(tmp_path):
    path = write_video(tmp_path / "a.avi", brightening(20))
    frames = sampled_frames(path, 250)
    assert len(list(itertools.islice(frames, 3))) == 3
    frames.close()


def test_what_cannot_be_read_says_why(tmp_path):
    whole = write_video(tmp_path / "whole.avi", moving(40)).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) * 4 // 5])
    with pytest.raises(Unreadable, match=r"is cut off: \d+ of 40 frames"):
        list(sampled_frames(cut, 250))
    text = tmp_path / "text.mp4"
    text.write_text("no video\n")
    with pytest.raises(Unreadable, match=r"cannot be decoded \(Invalid data found"):
        list(sampled_frames(text, 250))
    (tmp_path / "empty.avi").touch()
    with pytest.raises(Unreadable, match=r"cannot be decoded"):
        list(sampled_frames(tmp_path / "empty.avi", 250))
    with pytest.raises(Unreadable, match=r"cannot be decoded \(No such file"):
        list(sampled_frames(tmp_path / "none.avi", 250))
    one = write_video(tmp_path / "one.avi", moving(1))
    with pytest.raises(Unreadable, match="too short: 1 frame at 25 a second, at least 2 needed"):
        list(sampled_frames(one, 250))


def test_a_video_without_pictures_is_unreadable(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(Unreadable, match="has no video stream"):
        list(sampled_frames(path, 250))
