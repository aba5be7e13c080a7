from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from platform.report.caption_figures import attention_figure, captions_figure, overlaid, unique_words_figure
from platform.report.describing import DescribedClip
from platform.report.figures import svg
from platform.zeroshot.caption_attention import CaptionAttention

COUNTS = {"rest": {"hop": 4, "wave": 10}, "regen": {"hop": 6, "wave": 5}}


def clip(caption="a man hops", decided="hop", attention=None, frames=2):
    pictures = np.full((frames, 8, 8, 3), 200, np.uint8)
    return DescribedClip("key", pictures, "hop", decided, caption, attention)


def attention(chosen=3, shared=True):
    tokens = ("[CLS]", *(f"word{i}" for i in range(chosen - 1)), "[SEP]")
    image, text = torch.full((chosen, 5), 0.1), torch.ones(chosen, chosen).tril()
    text /= text.sum(dim=1, keepdim=True) * (2 if shared else 1)
    return CaptionAttention(tokens, image if shared else 2 * image, text, (2, 2), "last layer")


def texts(figure):
    return [text.get_text() for text in figure.texts]


def widths(axes):
    return [[bar.get_width() for bar in bars] for bars in axes.containers]


def test_each_class_has_a_bar_of_unique_words_and_its_change():
    counted, changed = unique_words_figure(COUNTS, against="rest").axes
    assert widths(counted) == [[4, 10], [6, 5]]
    assert [label.get_text() for label in counted.get_yticklabels()] == ["hop", "wave"]
    assert widths(changed) == [[pytest.approx(50), pytest.approx(-50)]]
    more, fewer = (to_hex(bar.get_facecolor()) for bar in changed.containers[0])
    assert (more, fewer) == ("#c0392b", "#222222")
    (legend,) = counted.get_figure().legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["rest: 7.0 words a class, from which the change counts", "regen: 5.5 words a class"]


def test_of_several_models_each_changes_in_its_own_colour():
    more = COUNTS | {"names": {"hop": 2}}
    _, changed = unique_words_figure(more, against="rest").axes
    assert widths(changed) == [[pytest.approx(50), pytest.approx(-50)], [pytest.approx(-50)]]
    assert len({to_hex(bar.get_facecolor()) for bars in changed.containers for bar in bars}) == 2


def test_a_model_alone_has_no_change():
    (axes,) = unique_words_figure({"rest": COUNTS["rest"]}).axes
    assert widths(axes) == [[4, 10]]


def test_captions_of_a_clip_stand_together_with_what_they_were_taken_for():
    figure = captions_figure({"rest": [clip("a man waves", "wave")] * 2, "regen": [clip(), clip("", "hop")]})
    said = [text for text in texts(figure) if text != "■"]
    expected = ["rest", "regen", "hop", "a man waves → wave ✗", "a man hops → hop ✓"]
    assert said == [*expected, "hop", "a man waves → wave ✗", "(no word) → hop ✓"]
    assert [axes.images[0].get_array().shape for axes in figure.axes] == [(8, 17, 3)] * 2  # frames and a gap


def test_a_long_caption_takes_several_lines_and_is_cut_in_the_end():
    figure = captions_figure({"regen": [clip("very " * 100 + "long", "jump on one leg")]})
    told = [text for text in texts(figure) if text.startswith(("very", "…", "→"))]
    assert len(told) >= 3
    assert max(map(len, told)) < 70
    assert "…" in " ".join(told)
    assert "long" not in " ".join(told)
    assert told[-1].endswith("→ jump on one leg ✗")  # a class name stays in one line, where it fits
    long = captions_figure({"regen": [clip("a man", "a very long name of " * 6)]})
    assert max(map(len, texts(long))) < 70


def test_attention_is_a_row_of_matrices_a_model_and_a_frame_a_token():
    found = attention_figure({"rest": clip(attention=attention(3)), "regen": clip(attention=attention(2))})
    titled = {axes.get_title(): axes for axes in found.axes[:6] if axes.get_title()}
    assert set(titled) == {"text to image", "text to text", "image: 50 %"}
    image, text, share, *frames = found.axes[:6]
    assert image.images[0].get_array().shape == (3, 5)
    assert [label.get_text() for label in image.get_yticklabels()] == ["word0", "word1", "[SEP]"]
    assert image.get_xlabel() == "visual tokens: 1 + 2 × 2"
    assert [label.get_text() for label in text.get_xticklabels()] == ["[CLS]", "word0", "word1"]
    np.testing.assert_array_equal(text.images[0].get_array().mask, np.triu(np.ones((3, 3)), 1))
    assert [bar.get_width() for bar in share.patches] == pytest.approx([50, 50, 50])
    assert [axes.images[0].get_array().shape for axes in frames] == [(8, 8, 3)] * 3
    assert [text for text in texts(found) if text in ("rest", "regen", "■")] == ["■", "rest", "■", "regen"]
    other = found.axes[6]
    assert other.images[0].norm is image.images[0].norm  # one scale


def test_without_one_softmax_there_is_no_share():
    found = attention_figure({"blip": clip(attention=attention(shared=False))})
    assert not any(axes.get_title().startswith("image") for axes in found.axes)


def test_a_map_colours_a_frame_where_attention_is():
    frame = np.full((4, 4, 3), 100, np.uint8)
    shown = overlaid(frame, np.array([[0.5, 0.1], [0.1, 0.1]]))
    assert shown[2:].tolist() == frame[2:].tolist()
    assert shown[:2, 2:].tolist() == frame[:2, 2:].tolist()
    assert (shown[:2, :2] != 100).any(axis=2).all()
    assert overlaid(frame, np.full((2, 2), 0.3)).tolist() == frame.tolist()


def test_they_are_well_formed_the_same_each_time_and_take_signs_as_they_are():
    strange = clip("a $man$ <hops> & $", attention=attention())
    for draw in (lambda: captions_figure({"a": [strange]}), lambda: attention_figure({"a": strange})):
        shown = svg(draw(), "one")
        assert shown == svg(draw(), "one")
        assert "a $man$ <hops> & $ → hop ✓" in [own.text for own in ElementTree.fromstring(shown).iter()]


def test_long_tokens_are_cut_and_long_names_take_several_lines():
    own = attention(2)
    long = CaptionAttention(("[CLS]", "incomprehensibilities", "[SEP]"), own.image, own.text, own.grid, own.of)
    name = f"regen ({', '.join(f'field_{i}=value' for i in range(12))})"
    figure = attention_figure({name: clip(attention=long)})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["incomprehensi…", "[SEP]"]
    assert "incompreh…" in texts(figure)
    for drawn in (figure, captions_figure({name: [clip()]})):
        lines = [text for text in texts(drawn) if "field_" in text]
        assert " ".join(lines) == name
        assert len(lines) == 3
