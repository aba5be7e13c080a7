"""Every method of the repository keeps what methods promise, and one that does not is told what to do."""

import sys
import textwrap

import pytest

from platform.errors import InputError
from platform.learning.conformance import CHECKS, examine

CLASSIFIER = {"classifier_samples": 20, "classifier_steps": 30}
SADVAE = {"z_r": 6, "z_v": 3, "n_d": 2, "learning_rate": 1e-3, **CLASSIFIER}
SYNSE = {"z_s": 8, "cycle": 12, "beta_start": 4, "beta_y_start": 4, "alpha_start": 6, "joint_samples": 10, **CLASSIFIER}
SYNSES_CODE = {"reconstruction": "mean", "beta_y_start": 6, "beta_y_first_cycle": 1, "noise": "sample"}
SYNSES_CODE |= {"output_relu": True, "classifier_relu": True, "classifier_fit": "adam"}
CADAVAE = {
    "z": 4, "encoder_x": 16, "decoder_x": 16, "encoder_y": 16, "decoder_y": 16, "learning_rate": 1e-3,
    "beta_end": 0.8, "cross_start": 0.1, "cross_end": 0.5, "distance_start": 0.2, "distance_end": 0.9,
    "classifier_samples": 20, "joint_seen_samples": 10, "joint_unseen_samples": 15,
}  # fmt: skip
CADAVAES_OTHERS = (
    {"z": 9, "encoder_x": 20, "decoder_x": 7, "encoder_y": 5, "decoder_y": 13, "combination": "hard"},
    {"z": 3, "reconstruction": "mean", "distribution_alignment": False, "deviation": "paper", "combination": "soft"},
    {"reconstruction": "l2", "cross_alignment": False, "noise": "dimension", "classifier_batch_size": 0, "epochs": 5},
    {"deviation": "released", "noise": "sample", "distance": 2.0, "classifier_fit": "penalised", "combination": "hard"},
)
REVISE = {"code": 8, "shared": 6, "hidden": 12, "learning_rate": 1e-3, "kappa": 0.2}
JPOSE = {"width": 6, "joint": 5, "hidden": 8, "learning_rate": 1e-3}
CLASTER = {"hidden": 16, "channels": 2, "iterations": 5, "clusters": 3, "projection_steps": 30, "alpha_steps": 6}
CLASTERS_OTHERS = (
    {"clusters": 5, "hidden": 9, "iterations": 4, "alpha": 0.05, "inference": "expected"},
    {"combination": "joint", "train_share": 0.7, "neighbours": 0, "inference": "softmax"},
    {"seen_classifier": "features", "combination": "hard", "semantic_weight": 3.0},
)
METHODS = {  # a method's fields, and what other members of its populations have otherwise
    "sadvae": (
        SADVAE,
        {"z_r": 12, "z_v": 2, "n_d": 3, "learning_rate": 5e-3, "beta_x": 0.3, "beta_y": 0.1, "lambda_2": 0.5},
        {"alignment": "naive", "z_r": 5, "noise": "sample", "seen_classifier": "logits"},
        {"alignment": "fd", "z_v": 7, "annealing": "released", "lambda_1": 0.4, "seen_classifier": "latent"},
        {"annealing": "released", "z_r": 10, "n_d": 1, "seen_classifier_c": 0.1, "classifier_fit": "adam"},
    ),
    "synse": (
        SYNSE,
        {"z_s": 12, "cycle": 9, "alpha_start": 4, "alpha": 0.4, "learning_rate": 5e-3, "beta_rate": 0.05},
        {**SYNSES_CODE, "z_s": 4, "normalise": "minmax", "seen_classifier": "logits"},
        {"noise": "sample", "beta_start": 2, "combination": "joint", "classifier_steps": 20},
        {**SYNSES_CODE, "z_s": 10, "cycle": 15, "combination": "joint", "joint_samples": 7},
    ),
    "cadavae": (CADAVAE, *CADAVAES_OTHERS),
    "revise": (
        REVISE,
        {"code": 17, "shared": 4, "hidden": 9, "association": "softmax", "learning_rate": 5e-3, "kappa": 0.5},
        {"association": "binary", "text_decay": 0.1, "contraction": 0.02, "margin": 1.0, "seen_classifier": "logits"},
        {"negatives": "fixed", "output_relu": True, "log_features": True, "normalise": "minmax", "discrepancy": 3.0},
        {"seen_classifier": "compatibility", "combination": "joint", "contraction": 0.5, "hidden": 30},
        {"seen_classifier": "compatibility", "combination": "stacking"},
    ),
    "jpose": (
        JPOSE,
        {"width": 9, "joint": 8, "negatives": "fixed", "within": 0.3, "joint_weight": 2.0},
        {"negatives": "moved", "hidden": 5, "combination": "joint", "joint_decay": 0.1, "learning_rate": 5e-3},
    ),
    "smie": (
        {"hidden_1": 16, "hidden_2": 8, "warm_up": 1, "learning_rate": 1e-3},
        {"hidden_1": 12, "warm_up": 2, "negatives": "other_class", "temporal_margin": 0.5, "learning_rate": 5e-3},
        {"combination": "joint", "temporal_weight": 0.0, "test_normalisation": False},
    ),
    "claster": (CLASTER, *CLASTERS_OTHERS),
    "erpcnet": (
        {
            "backbone": "squeezenet1_1", "weights": "none", "frozen_blocks": 4, "side": 64, "kernel": 2, "stride": 1,
            "steps": 2, "joint_hidden": 16, "dropout": 0.0, "sampler": "random", "epochs": 2,
        },
    ),
    "eszsl": ({}, {"gamma": 10.0, "seen_classifier": "features", "combination": "hard"}, {"combination": "joint"}),
    "ridge": ({}, {"gamma": 10.0, "seen_classifier": "features", "combination": "hard"}, {"combination": "joint"}),
}  # fmt: skip
VARIANTS = {  # of methods whose members cannot differ in the field: preset, fields, and those of other members
    "sadvae as released": ("released", SADVAE, {"alignment": "naive", "z_r": 5}, {"alignment": "fd", "z_v": 7}),
    "sadvae, D_T as released": (None, SADVAE | {"discriminator": "released", "output_relu": True}, {"n_d": 1}),
    "sadvae, D_T's probability": (
        None,
        SADVAE | {"adversary": "probability", "classifier_relu": True, "classifier_fit": "adam"},
        {"z_v": 5, "noise": "sample"},
    ),
    "synse, one text": (None, SYNSE | {"parts": "single"}, {**SYNSES_CODE, "z_s": 6}, {"combination": "joint"}),
    "cadavae, single layers": (None, CADAVAE | {"hidden": False}, *CADAVAES_OTHERS),
    "jpose, one text layer": (None, JPOSE | {"text_layers": 1}, {"width": 9, "negatives": "moved"}),
    **{
        f"claster, {field}={value}": (None, CLASTER | {field: value}, *others)
        for field, values in {
            "clustering": ("kmeans", "random", "sgd", "netvlad", "none"),
            "aggregation": ("average", "dot", "weighted"),
            "visual_semantic": (False,),
            "channels": (0,),
        }.items()
        for value in values
        for others in [CLASTERS_OTHERS[:1] if field == "clustering" else ()]
    },
}
NOT_OFFERED = {  # counts of promises that do not apply: they are solved, or have no gradients written by hand
    **dict.fromkeys(("eszsl", "ridge"), 7),
    **dict.fromkeys(("sadvae", "synse", "cadavae"), 0),
}
WITHOUT_WORKERS = [check for check in CHECKS if "workers" not in check.__name__]  # processes take seconds to start


def examined(name, preset, values, *others, **options):
    """What is not kept, and how many promises are not offered."""
    found = list(examine(f"methods.{name}", values, preset, others, **options))
    broken = {f.check: f.said for f in found if f.status == "broken"}
    return broken, sum(f.status == "not offered" for f in found)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*output_relu")
@pytest.mark.parametrize("name", METHODS)
def test_a_method_keeps_its_promises(name):
    assert examined(name, None, *METHODS[name]) == ({}, NOT_OFFERED.get(name, 1))


@pytest.mark.filterwarnings("ignore:.*output_relu")
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_keeps_the_promises_of_its_method(variant):
    name = variant.partition(",")[0].split()[0]
    assert examined(name, *VARIANTS[variant], checks=WITHOUT_WORKERS) == ({}, name not in NOT_OFFERED)


GOOD = """
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from platform.learning import module_method
from platform.learning.module_method import ModuleConfig, ModuleMethod


class Plain(ModuleMethod):
    Config = ModuleConfig
    citation = "@article{a2026, title = {A}}"

    def module(self, config, features, text):
        return nn.Linear(features, text)

    def loss(self, module, batch, config):
        return cross_entropy(self.scores(module, batch.x, batch.semantics, config), batch.labels)

    def scores(self, module, x, semantics, config):
        return module(x) @ semantics.T


class Learner(module_method._ModuleLearner):
    pass


class Model(module_method.ModuleModel):
    pass
"""
BROKEN = {  # what makes the good method a bad one, and the start of the promise that it breaks
    "no paper": ("class Bad(Plain):\n    citation = ''", "It has a citation"),
    "a preset that is no configuration": (
        "class Bad(Plain):\n    presets = {'wide': {'width': 3}}",
        "It has a citation",
    ),
    "members that share what is no field": ("class Bad(Plain):\n    pack_by = ('width',)", "It has a citation"),
    "draws that no seed names": (
        "DRAW = torch.Generator().manual_seed(0)\n\n\n"
        "class Bad(Plain):\n"
        "    def loss(self, module, batch, config):\n"
        "        return super().loss(module, batch, config) * torch.rand((), generator=DRAW)",
        "The same seed",
    ),
    "a seed without effect": (
        "from dataclasses import replace\n\n\n"
        "class Bad(Plain):\n"
        "    def learner(self, member, workers):\n"
        "        return super().learner(replace(member, seed=0), workers)",
        "Another seed",
    ),
    "a state without the optimiser's": (
        "class Forgetful(Learner):\n"
        "    def state(self):\n"
        "        return {n: t for n, t in super().state().items() if not n.startswith('optimiser')}\n\n\n"
        "class Bad(Plain):\n"
        "    def learner(self, member, workers):\n"
        "        return Forgetful(self, member, workers)",
        "A training that is cut off",
    ),
    "a start that ignores the state": (
        "from dataclasses import replace\n\n\n"
        "class Bad(Plain):\n"
        "    def learner(self, member, workers):\n"
        "        return super().learner(replace(member, state=None), workers)",
        "A training that is cut off",
    ),
    "members that see each other": (
        "from platform.method import LoopedPopulation\n\n\n"
        "class Bad(Plain):\n"
        "    def population(self, members, workers):\n"
        "        found = super().population(members, workers)\n"
        "        for learner in found.learners:\n"
        "            learner.module.weight.data *= len(members)\n"
        "        return found",
        "A member of a population",
    ),
    "a model that is the network itself": (
        "class Shared(Learner):\n"
        "    def _weights(self):\n"
        "        return self.module.state_dict()\n\n\n"
        "class Bad(Plain):\n"
        "    def learner(self, member, workers):\n"
        "        return Shared(self, member, workers)",
        "A model and a state stay",
    ),
    "logits": (
        "class Logits(Model):\n"
        "    def unseen_scores(self, x):\n"
        "        return self._logits(x, self.semantics[len(self.seen):])\n\n\n"
        "class Raw(Learner):\n"
        "    def model(self):\n"
        "        made = super().model()\n"
        "        return Logits(**{name: getattr(made, name) for name in made.__dataclass_fields__})\n\n\n"
        "class Bad(Plain):\n"
        "    def learner(self, member, workers):\n"
        "        return Raw(self, member, workers)",
        "Scores are log-probabilities",
    ),
    "scores relative to the batch": (
        "class Bad(Plain):\n"
        "    def scores(self, module, x, semantics, config):\n"
        "        return super().scores(module, x - x.mean(0), semantics, config)",
        "A sample's scores",
    ),
    "class text of any width": (
        "class Wide(Model):\n"
        "    def with_classes(self, names, semantics):\n"
        "        return super().with_classes(names, semantics[:, :1].expand(-1, self.semantics.shape[1]))\n\n\n"
        "class Any(Learner):\n"
        "    def model(self):\n"
        "        made = super().model()\n"
        "        return Wide(**{name: getattr(made, name) for name in made.__dataclass_fields__})\n\n\n"
        "class Bad(Plain):\n"
        "    def learner(self, member, workers):\n"
        "        return Any(self, member, workers)",
        "A trained model takes new classes",
    ),
    "a model that forgets on its way to disk": (
        "class Bad(Plain):\n"
        "    def restored(self, tensors, values):\n"
        "        return super().restored({n: 0 * t for n, t in tensors.items()}, values)",
        "A saved model",
    ),
    "seen scores of other classes": (
        "from dataclasses import replace\n\n\n"
        "class Moved(Model):\n"
        "    def with_classes(self, names, semantics):\n"
        "        other = super().with_classes(names, semantics)\n"
        "        return replace(other, semantics=other.semantics.flip(0))\n\n\n"
        "class Turned(Learner):\n"
        "    def model(self):\n"
        "        made = super().model()\n"
        "        return Moved(**{name: getattr(made, name) for name in made.__dataclass_fields__})\n\n\n"
        "class Bad(Plain):\n"
        "    def learner(self, member, workers):\n"
        "        return Turned(self, member, workers)",
        "A trained model takes new classes",
    ),
    "a divergence that is forgotten": (
        "class Hopeful(Learner):\n"
        "    def state(self):\n"
        "        fresh = super().state() | {'alive': torch.tensor(True)}\n"
        "        return {name: tensor.nan_to_num(0, 0, 0) for name, tensor in fresh.items()}\n\n\n"
        "class Bad(Plain):\n"
        "    def module(self, config, features, text):\n"
        "        return nn.Sequential(nn.Linear(features, 9), nn.Linear(9, 9), nn.Linear(9, text))\n\n"
        "    def learner(self, member, workers):\n"
        "        return Hopeful(self, member, workers)",
        "A member that diverges",
    ),
    "losses that are always finite": (
        "class Quiet(Learner):\n"
        "    def train_epoch(self):\n"
        "        super().train_epoch()\n"
        "        return {'loss': 0.0}\n\n\n"
        "class Bad(Plain):\n"
        "    def module(self, config, features, text):\n"
        "        return nn.Sequential(nn.Linear(features, 9), nn.Linear(9, 9), nn.Linear(9, text))\n\n"
        "    def learner(self, member, workers):\n"
        "        return Quiet(self, member, workers)",
        "A member that diverges",
    ),
    "training on the unseen classes' text": (
        "class Curious(Learner):\n"
        "    def __init__(self, method, member, workers):\n"
        "        super().__init__(method, member, workers)\n"
        "        if not member.state:\n"
        "            self.module.bias.data += member.task.semantics.mean()\n\n\n"
        "class Bad(Plain):\n"
        "    def learner(self, member, workers):\n"
        "        return Curious(self, member, workers)",
        "Training does not depend",
    ),
    "a rank without effect": (
        "from platform.workers import Workers\n\n\n"
        "class Bad(Plain):\n"
        "    def learner(self, member, workers):\n"
        "        own = super().learner(member, workers)\n"
        "        if workers.rank:\n"
        "            own.module.weight.data += 1\n"
        "        return own",
        "Two data-parallel workers",
    ),
}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A function of a module's text to its name."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def written(text):
        name = f"conformance_lab_{len(list(tmp_path.iterdir()))}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield written
    for name in [n for n in sys.modules if n.startswith("conformance_lab")]:
        del sys.modules[name]


@pytest.mark.parametrize("fault", [pytest.param(f, marks=pytest.mark.slow) if "rank" in f else f for f in BROKEN])
def test_a_broken_promise_is_found_and_says_what_to_do(lab, fault):
    text, promise = BROKEN[fault]
    name = lab(GOOD + "\n\n" + textwrap.dedent(text) + "\n\n\nmethod = Bad()\n")
    found = examine(name, {}, checks=CHECKS[-1:] if "rank" in fault else WITHOUT_WORKERS)
    broken = [f for f in found if f.status == "broken"]
    assert any(f.check.startswith(promise) for f in broken), broken
    assert all("\n" not in f.said and f.said for f in broken)


def test_a_good_method_keeps_all(lab):
    found = list(examine(lab(GOOD + "\n\nmethod = Plain()\n"), {}, checks=WITHOUT_WORKERS))
    assert {f.check: f.said for f in found if f.status != "kept"} == {
        "Gradients written by hand are those of the stated losses": "it has no gradients written by hand",
        "A member that diverges leaves the others alone": "a learning rate of 1e30 leaves it finite",  # it is linear
    }


def test_what_a_method_does_not_offer_is_said(lab):
    text = GOOD + "\n\nclass Lonely(Plain):\n    data_parallel = 'none'\n\n\nmethod = Lonely()\n"
    *_, last = examine(lab(text), {})
    assert (last.check, last.status) == ("Two data-parallel workers train together", "not offered")
    assert "--workers 2 is refused" in last.said


def test_a_wrong_field_is_a_users_mistake(lab):
    with pytest.raises(InputError, match="unknown field `widht`"):
        list(examine("methods.sadvae", {"widht": 3}))
    with pytest.raises(InputError, match="epochs=1: a check of what is resumed takes at least 2"):
        list(examine("methods.sadvae", {"epochs": 1}))
