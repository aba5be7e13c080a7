import pytest
import torch
from describes import SEEN, UNSEEN, Describes
from made_frames import SIDE, write_frames
from test_inspection import Given

from platform.report.describing import describing, shown_rows
from platform.zeroshot.task import Samples

GREYS = [[10, 20], [40, 50], [80, 90], [120, 130], [160, 170], [200, 210]]


@pytest.fixture
def samples(tmp_path):
    """Of unseen classes: three of the first, of which one is bright, and three of the second."""
    return Samples(write_frames(tmp_path / "frames.arrow", GREYS), torch.tensor([2, 2, 3, 2, 3, 3]))


@pytest.fixture
def model():
    return Describes(SEEN, UNSEEN, None)


def test_words_are_counted_class_by_class(model, samples):
    assert describing(model, samples).unique_words == {"hop": 4, "wave": 4}  # `grey` and three numbers


def test_clips_are_shown_with_class_caption_and_decision(model, samples):
    clips = describing(model, samples).clips
    said = [(clip.true, clip.caption, clip.decided) for clip in clips]
    assert said == [
        ("hop", "grey 10", "hop"),
        ("hop", "grey 40", "hop"),
        ("hop", "grey 120", "wave"),
        ("wave", "grey 80", "hop"),
        ("wave", "grey 160", "wave"),
        ("wave", "grey 200", "wave"),
    ]
    assert clips[0].frames.shape == (2, SIDE, SIDE, 3)
    assert clips[0].frames[:, 0, 0, 0].tolist() == [10, 20]
    assert clips[2].key == samples.features.key(3)


def test_some_of_them_are_shown_with_their_own_attention(model, samples):
    clips = describing(model, samples).clips
    assert [clip.attention and clip.attention.of for clip in clips] == ["of 10", None, None, "of 80", None, None]


def test_other_models_are_shown_on_the_same_clips(model, samples):
    other = Describes(SEEN, UNSEEN, None, word="shade")
    assert describing(other, samples).keys == describing(model, samples).keys


def test_frames_are_few_and_small(model, tmp_path, monkeypatch):
    monkeypatch.setattr("platform.report.describing._SIDE", 4)
    frames = write_frames(tmp_path / "long.arrow", [[10 * i for i in range(8)]])
    (clip,) = describing(model, Samples(frames, torch.tensor([2]))).clips
    assert clip.frames.shape == (4, 4, 4, 3)
    assert clip.frames[:, 0, 0, 0].tolist() == [0, 20, 40, 60]


def test_a_model_without_captions_tells_nothing(samples):
    assert describing(Given(SEEN, UNSEEN, None), samples) is None


def test_as_many_of_each_class_are_shown_as_fit():
    labels = torch.tensor([0] * 50 + [1] * 50 + [2])
    rows = shown_rows(labels, 7)
    assert labels[rows].tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert rows == shown_rows(labels, 7)
    assert len(set(rows)) == 7
    assert shown_rows(labels[:2], 7) == [0, 1]
    assert rows[:3] != [0, 1, 2]  # drawn, not the first
