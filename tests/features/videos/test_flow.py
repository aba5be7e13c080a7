import sys
from types import SimpleNamespace

import numpy as np
import pytest

from platform.errors import InputError
from platform.features.videos.extra import needed
from platform.features.videos.flow import flow_method, scaled

SHIFT_X, SHIFT_Y = 3, -2


def _textured(height, width):
    """A smooth pattern without a period, as a function of the position."""
    y, x = np.mgrid[:height, :width].astype(float)
    return lambda dx, dy: (
        128 + 50 * np.sin((x - dx) / 7) * np.cos((y - dy) / 6) + 40 * np.sin((x - dx) / 3.7 + (y - dy) / 5.3)
    ).astype(np.uint8)


@pytest.mark.parametrize("name", ["tvl1", "farneback"])
def test_the_flow_of_a_shifted_image_is_the_shift(name):
    pytest.importorskip("cv2")
    image = _textured(64, 96)
    flow = flow_method(name)(image(0, 0), image(SHIFT_X, SHIFT_Y))
    assert flow.shape == (64, 96, 2)
    assert flow.dtype == np.float32
    inside = flow[16:-16, 16:-16]
    np.testing.assert_allclose(inside.mean(axis=(0, 1)), [SHIFT_X, SHIFT_Y], atol=0.3)


def test_flow_is_truncated_and_scaled():
    flow = np.array([-50, -20, -10, 0, 5, 20, 21], np.float32)
    found = scaled(flow)
    np.testing.assert_array_equal(found, np.array([-1, -1, -0.5, 0, 0.25, 1, 1], np.float32))
    assert found.dtype == np.float32


def test_an_unknown_flow_and_missing_packages_are_one_line(monkeypatch):
    with pytest.raises(InputError, match="--flow raft: expected tvl1, farneback or none"):
        flow_method("raft")
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace())
    with pytest.raises(InputError, match=r"--flow tvl1: this OpenCV has no optflow; .* pip install -e \.\[video\], or"):
        flow_method("tvl1")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r"`cv2` .*; install the extra video: pip install -e \.\[video\]"):
        flow_method("farneback")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"`av` .*; install the extra video"):
        needed("av")
