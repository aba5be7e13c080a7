import torch
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
