import numpy as np
import pytest
import torch
from made_videos import brightening, moving, write_video

from platform.features.videos.flow import flow_method
from platform.features.videos.inputs import network_inputs

pytest.importorskip("av")


def test_rgb_is_scaled_and_a_short_video_is_looped(tmp_path):
    path = write_video(tmp_path / "a.avi", brightening(6, step=40))
    found = network_inputs(path, 250, True, None)
    assert list(found) == ["rgb"]
    clip = found["rgb"]
    assert clip.shape == (1, 3, 16, 224, 224)
    assert clip.dtype == torch.float32
    levels = clip.mean(dim=(0, 1, 3, 4)).numpy()
    expected = (16 + 40 * (np.arange(16) % 6)) / 127.5 - 1
    np.testing.assert_allclose(levels, expected, atol=0.03)


def test_a_longer_video_is_not_looped(tmp_path):
    path = write_video(tmp_path / "a.avi", brightening(18))
    assert network_inputs(path, 250, True, None)["rgb"].shape[2] == 18
    assert network_inputs(path, 16, True, None)["rgb"].shape[2] == 16


def test_flow_is_of_the_resized_frames_and_never_from_the_end_to_the_beginning(tmp_path):
    pytest.importorskip("cv2")
    path = write_video(tmp_path / "a.avi", moving(5, height=128, width=128, speed=1))
    found = network_inputs(path, 250, True, flow_method("farneback"))
    assert found["flow"].shape == (1, 2, 16, 224, 224)
    assert found["rgb"].shape == (1, 3, 16, 224, 224)
    to_the_right = found["flow"][0, 0, :, 32:-32, 32:-32].mean(dim=(1, 2)) * 20
    assert to_the_right[:5].numpy() == pytest.approx([2] * 5, abs=0.5)  # 256 / 128 pixels
    assert torch.equal(found["flow"][:, :, 3], found["flow"][:, :, 4])
    assert torch.equal(found["flow"][:, :, :5], found["flow"][:, :, 5:10])
    assert float(found["flow"].abs().max()) <= 1


def test_flow_alone(tmp_path):
    pytest.importorskip("cv2")
    path = write_video(tmp_path / "a.avi", moving(3))
    assert list(network_inputs(path, 250, False, flow_method("farneback"))) == ["flow"]
