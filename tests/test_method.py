import sys
from typing import ClassVar

import pytest
import torch
from pydantic import Field, ValidationError

from platform.errors import InputError
from platform.method import Method, MethodConfig, Model, load_method
from platform.training.ensembles import Ensemble
from platform.training.protocols import combined
from platform.zeroshot.gate import Stacking
from platform.zeroshot.normaliser import Normaliser


class Config(MethodConfig):
    width: int = Field(4, ge=1, description="of the one layer")


class Plain(Method):
    """Trains nothing."""

    Config, citation = Config, ""
    presets: ClassVar = {"wide": {"width": 64, "combination": "soft"}, "stacked": {"combination": "stacking"}}

    def population(self, members, workers):
        raise NotImplementedError


class Whole(Model):
    """One distribution over two seen and two unseen classes, beside the sides' own classifiers."""

    def unseen_scores(self, x):
        return torch.log_softmax(x[:, 2:], 1)

    def seen_scores(self, x):
        return torch.log_softmax(x[:, :2], 1)

    def sides(self, x):
        return tuple(torch.log_softmax(x, 1).split([2, 2], dim=1))

    def with_classes(self, names, semantics):
        return self

    def state(self):
        return {}, {}

    @classmethod
    def from_state(cls, tensors, values):
        return cls(("a", "b"), ("c", "d"), None)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A folder of a user's own modules."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [n for n in sys.modules if n.startswith("some_lab")]:
        del sys.modules[name]


def test_values_go_over_a_preset():
    assert Plain().configure({}) == Config()
    assert Plain().configure({"width": 8}, "wide") == Config(width=8, combination="soft")


def test_presets_combine_and_where_they_differ_the_later_one_holds():
    assert Plain().configure({}, "wide+stacked") == Config(width=64, combination="stacking")
    assert Plain().configure({}, "stacked+wide") == Config(width=64, combination="soft")
    assert Plain().configure({"width": 3}, "wide + stacked") == Config(width=3, combination="stacking")
    assert Plain().preset_values("wide+stacked") == {"width": 64, "combination": "stacking"}
    assert Plain().preset_values(None) == {}


@pytest.mark.parametrize(
    ("values", "preset", "message"),
    [
        ({}, "narrow", "no preset `narrow`; there is wide"),
        ({}, "wide+narrow", "no preset `narrow`; there is wide, stacked"),
        ({}, "wide+", "no preset before or after a \\+ of `wide\\+`; there is wide, stacked"),
        ({"widht": 3}, None, "did you mean `width`"),
        ({"width": 0}, "wide", r"width=0: .* \(of the one layer\)"),
    ],
)
def test_a_wrong_configuration_is_refused(values, preset, message):
    with pytest.raises(InputError, match=message):
        Plain().configure(values, preset)


def test_a_configuration_cannot_change():
    with pytest.raises(ValidationError, match="frozen"):
        Config().width = 5


def test_joint_scores_are_a_methods_own_over_all_classes():
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(4).repeat(5)
    model = Whole.from_state({}, {})
    found = combined(MethodConfig.model_construct(combination="joint"), [(*model.sides(x), labels)])
    joined, metrics = model.joined_by(found.combination), found.metrics
    torch.testing.assert_close(joined.scores(x), torch.log_softmax(x, 1))
    torch.testing.assert_close(joined.curve_scores(x), torch.log_softmax(x, 1))
    right = x.argmax(1) == labels
    assert metrics["seen_per_sample"] == pytest.approx(right[labels < 2].double().mean().item())
    assert metrics["unseen_per_sample"] == pytest.approx(right[labels >= 2].double().mean().item())


def test_an_ensemble_joins_the_sides_of_its_parts():
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    as_they_are = [Normaliser.fit("none", x)] * 2
    together = Ensemble.of("some.method", [Whole.from_state({}, {})] * 2, as_they_are).joined_by(Stacking(0.0))
    torch.testing.assert_close(together.scores(x), torch.log_softmax(x, 1))
    torch.testing.assert_close(together.unseen_scores(x), torch.log_softmax(x[:, 2:], 1))


def test_methods_are_found_by_their_modules_name(lab):
    (lab / "some_lab").mkdir()
    (lab / "some_lab" / "plain.py").write_text("from methods.sadvae import SADVAE\n\nmethod = SADVAE()\n")
    assert type(load_method("some_lab.plain")).__name__ == "SADVAE"
    assert load_method("methods.sadvae").Config.__name__ == "SADVAEConfig"


@pytest.mark.parametrize("name", ["some_lab.none", "methods.none", "nothing_at_all"])
def test_a_method_that_is_not_there_is_a_users_mistake(lab, name):
    with pytest.raises(InputError, match=f"no method `{name}`"):
        load_method(name)


def test_a_module_without_a_method_is_refused(lab):
    (lab / "some_lab_empty.py").write_text("method = 3\n")
    with pytest.raises(InputError, match="`some_lab_empty` is no method"):
        load_method("some_lab_empty")


def test_an_import_that_fails_inside_a_method_is_not_hidden(lab):
    (lab / "some_lab_broken.py").write_text("import a_module_that_is_missing\n")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_missing"):
        load_method("some_lab_broken")
