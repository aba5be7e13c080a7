from made_up import result

from platform.report.drawing import figures_of, sensitivities


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
