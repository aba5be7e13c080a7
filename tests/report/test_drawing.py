import pytest
import torch
from describes import SEEN, UNSEEN, Describes
from made_frames import write_frames
from made_up import result
from test_looks_figure import Looks

from platform.report.drawing import figures_of, sensitivities
from platform.zeroshot.task import Samples


def beta(value, **others):
    return result("sadvae", 0.5, config={"beta_x": value, "beta_y": 0.01}, searched=False, **others)


def test_sensitivity_is_drawn_where_there_are_three_pairs_of_betas():
    assert sensitivities([beta(0.1), beta(0.2)]) == {}
    (caption,) = found = sensitivities([beta(0.1), beta(0.2), beta(0.3), result("synse", 0.4)])
    assert caption.startswith("methods.sadvae: H by beta_x and beta_y")
    assert found[caption].startswith("<svg")


def test_a_model_that_has_gone_is_said_and_left_out(tmp_path):
    said = []
    assert figures_of([result("a", 0.5, model=str(tmp_path / "gone"))], tmp_path, said.append) == {}
    assert len(said) == 1
    assert said[0].startswith("no figures of a, shiftgcn: ")


def test_the_released_protocols_models_and_ensembles_are_not_drawn(tmp_path):
    said = []
    others = [result("a", 0.5, model="x", protocol="released"), result("a", 0.5, model="x", kind="ensemble of 2 seeds")]
    assert figures_of(others, tmp_path, said.append) == {}
    assert said == []


def test_models_that_look_step_by_step_share_the_figures_of_their_steps(tmp_path, monkeypatch):
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (12, 3 * 4**2), generator=draw, dtype=torch.uint8)
    model = Looks(seen=("bow", "clap"), unseen=("hop", "wave"), combination=None)
    samples = Samples(x, torch.arange(12) % 4)
    monkeypatch.setattr("platform.report.drawing.model_and_samples", lambda _, device: (model, samples, {}))
    found = figures_of([result(name, 0.5, model=str(tmp_path)) for name in ("a", "b")], tmp_path, print)
    looks = "looks at some pictures of unseen classes"
    assert [caption.removeprefix("clips ru5") for caption in found if "look" in caption] == [
        ": accuracy among the unseen with so many looks at most",
        ": unseen samples no longer recognised from a look on",
        f", a, shiftgcn: {looks}",
        f", b, shiftgcn: {looks}",
    ]


@pytest.fixture
def described(tmp_path, monkeypatch):
    """A function to the captions of the figures of two models that describe clips, `a` and `b`.

    others: whether `b` is tested on other clips than `a`.
    """

    def samples(name, greys):
        return Samples(write_frames(tmp_path / name, greys), torch.tensor([0, 2, 2, 3]))

    def figures(others=False, against=None):
        own = samples("own.arrow", [[10, 20], [40, 50], [40, 50], [120, 130]])
        other = samples("other.arrow", [[10, 20], [44, 50], [90, 90], [120, 130]]) if others else own
        found = {"a": (Describes(SEEN, UNSEEN, None), own), "b": (Describes(SEEN, UNSEEN, None, word="a shade"), other)}
        monkeypatch.setattr(
            "platform.report.drawing.model_and_samples", lambda folder, device: (*found[folder.name], {})
        )
        results = [result(name, 0.5, model=str(tmp_path / name)) for name in found]
        drawn = figures_of(results, tmp_path, print, against=against)
        return [caption for caption in drawn if "caption" in caption]

    return figures


CAPTIONS = "captions of clips of unseen classes, drawn at random, and the unseen class that each was taken for"


def test_models_that_describe_the_same_clips_share_their_figures(described):
    words, captions, *attention = described()
    assert words == "clips ru5: unique words in the captions of each unseen class; change against a, shiftgcn"
    assert captions == f"clips ru5: {CAPTIONS}"
    assert [said.partition(": a row")[0] for said in attention] == [
        "clips ru5: attention of captions of clip 1 above, hop",
        "clips ru5: attention of captions of clip 2 above, hop",
    ]
    assert attention[0].endswith("(of 40)")


def test_words_change_from_the_fewest_or_from_what_is_asked_for(described):
    assert described()[0].endswith("change against a, shiftgcn")
    assert described(against="b")[0].endswith("change against b, shiftgcn")


def test_models_of_other_clips_have_figures_of_their_own(described):
    found = described(others=True)
    words = "unique words in the captions of each unseen class"
    assert [said for said in found if "attention" not in said] == [
        f"clips ru5: {words}",
        f"clips ru5: {CAPTIONS}",
        f"clips ru5 (2): {words}",
        f"clips ru5 (2): {CAPTIONS}",
    ]
