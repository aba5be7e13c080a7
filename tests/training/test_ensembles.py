from dataclasses import replace

import pytest
import torch

from methods.sadvae import method
from platform.capabilities import model_for
from platform.errors import InputError
from platform.method import Member
from platform.training.ensembles import Ensemble, held_out_together
from platform.training.fitting import Fitting, TrainingGroup, chosen_epoch
from platform.training.saved_models import load_model, save_model
from platform.workers import Workers
from platform.zeroshot.gate import Gate, Stacking
from platform.zeroshot.normaliser import Normaliser
from platform.zeroshot.task import Samples

SMALL = {"z_r": 6, "z_v": 2, "epochs": 2, "learning_rate": 3e-3, "classifier_steps": 20, "classifier_samples": 20}
DIFFERENT = ({}, {"z_r": 3, "noise": "sample"}, {"alignment": "naive", "seen_classifier": "latent"})
GATE = Gate("soft", 2.0, 0.5, 3, (1.0, 0.5, 0.0, -1.0, -0.5, 0.0), 0.1)


@pytest.fixture(scope="module")
def parts(make_problem):
    """Models of other widths, seeds and seen classifiers."""
    task = make_problem(15).task
    members = [Member(task, method.configure({**SMALL, **c}), seed) for seed, c in enumerate(DIFFERENT)]
    group = TrainingGroup("all", members, 1, None, {"last": chosen_epoch([1] * len(members))})
    Fitting(method, [group], Workers(torch.device("cpu"))).fit()
    return [group.kept["last"][m] for m in range(len(members))]


def together(parts):
    """On features as they are."""
    return Ensemble.of("methods.sadvae", parts, [Normaliser.fit("none", torch.ones(1, 24))] * len(parts))


@pytest.fixture
def ensemble(parts):
    return together(parts)


@pytest.fixture
def x(problem):
    return problem.test.features


def assert_same_scores(model, other, x):
    assert (model.seen, model.unseen) == (other.seen, other.unseen)
    assert torch.equal(model.unseen_scores(x), other.unseen_scores(x))
    assert torch.equal(model.seen_scores(x), other.seen_scores(x))


def test_probabilities_are_the_mean_of_the_parts(ensemble, parts, x):
    for side in ("unseen_scores", "seen_scores"):
        several = torch.stack([getattr(part, side)(x).exp() for part in parts])
        assert not torch.allclose(several[0], several[2], atol=1e-2)
        together = getattr(ensemble, side)(x).exp()
        torch.testing.assert_close(together, several.mean(dim=0))
        torch.testing.assert_close(together.sum(dim=1), torch.ones(len(x)))


def test_a_class_that_a_part_holds_impossible_stays_possible():
    side = torch.tensor([[0.0, -torch.inf]]), torch.tensor([[-torch.inf, 0.0]])
    ((seen, unseen, labels),) = held_out_together([[(part, part, torch.tensor([1]))] for part in side])
    torch.testing.assert_close(seen.exp(), torch.tensor([[0.5, 0.5]]))
    torch.testing.assert_close(unseen.exp(), torch.tensor([[0.5, 0.5]]))
    assert labels.tolist() == [1]


def test_each_part_is_given_features_as_it_was_trained_on_them(parts, x, tmp_path):
    normalisers = [Normaliser.fit(kind, x) for kind in ("none", "standard", "l2")]
    ensemble = Ensemble.of("methods.sadvae", parts, normalisers)
    expected = torch.stack([p.unseen_scores(own(x)).exp() for p, own in zip(parts, normalisers, strict=True)])
    torch.testing.assert_close(ensemble.unseen_scores(x).exp(), expected.mean(dim=0))
    save_model("methods.sadvae", ensemble, tmp_path / "together", {})
    assert_same_scores(load_model(tmp_path / "together")[0], ensemble, x)


def test_held_out_scores_are_joined_fold_by_fold(parts, x):
    folds = [(x[:30], torch.zeros(30)), (x[30:], torch.ones(len(x) - 30))]
    several = [[(p.seen_scores(own), p.unseen_scores(own), labels) for own, labels in folds] for p in parts]
    ensemble = together(parts)
    for (seen, unseen, labels), (own, expected) in zip(held_out_together(several), folds, strict=True):
        assert torch.equal(seen, ensemble.seen_scores(own))
        assert torch.equal(unseen, ensemble.unseen_scores(own))
        assert torch.equal(labels, expected)


def test_an_ensemble_of_one_equals_its_part(parts, x):
    for part in parts:
        one = together([part])
        assert_same_scores(one, part, x)
        for combination in (GATE, Stacking(0.3)):
            joined = part.joined_by(combination)
            assert torch.equal(one.joined_by(combination).scores(x), joined.scores(x))


def test_it_joins_the_means_of_both_sides(ensemble, x):
    joined = ensemble.joined_by(GATE)
    expected = GATE.scores(ensemble.seen_scores(x), ensemble.unseen_scores(x))
    assert torch.equal(joined.scores(x), expected)
    torch.testing.assert_close(joined.scores(x).exp().sum(dim=1), torch.ones(len(x), dtype=torch.float64))


def test_given_logits_reach_each_part(make_problem):
    problem = make_problem(15)
    task = replace(problem.task, logits=torch.zeros(len(problem.task.labels), 8))
    kinds = ("logits", "logits", "features")
    members = [Member(task, method.configure({**SMALL, "seen_classifier": kind}), 0) for kind in kinds]
    group = TrainingGroup("all", members, 0, None, {"last": chosen_epoch([0] * len(kinds))})
    Fitting(method, [group], Workers(torch.device("cpu"))).fit()
    *judged, own = group.kept["last"].values()
    x, labels, logits = problem.test.features, problem.test.labels, torch.randn(len(problem.test.labels), 8)
    samples = Samples(x, labels, logits)
    torch.testing.assert_close(model_for(together(judged), samples).seen_scores(x), torch.log_softmax(logits, 1))
    mixed = together([judged[0], own])
    expected = (logits.softmax(1) + own.seen_scores(x).exp()) / 2
    torch.testing.assert_close(model_for(mixed, samples).seen_scores(x).exp(), expected)
    torch.testing.assert_close(model_for(mixed, samples).sides(x)[0].exp(), expected)
    with pytest.raises(InputError, match="these samples have no logits"):
        model_for(mixed, Samples(x, labels)).seen_scores(x)
    with pytest.raises(InputError, match="the logits have shape"):
        model_for(mixed, samples).seen_scores(x[:5])


def test_each_part_is_given_the_other_classes(ensemble, parts, x, problem):
    names, semantics = ("new 1", "new 2"), problem.task.semantics[:2]
    renamed = ensemble.joined_by(GATE).with_classes(names, semantics)
    assert (renamed.seen, renamed.unseen, renamed.combination) == (ensemble.seen, names, GATE)
    expected = torch.stack([part.with_classes(names, semantics).unseen_scores(x).exp() for part in parts])
    torch.testing.assert_close(renamed.unseen_scores(x).exp(), expected.mean(dim=0))
    assert torch.equal(renamed.seen_scores(x), ensemble.seen_scores(x))
    assert renamed.scores(x).shape == (len(x), 10)


def test_what_its_state_makes_gives_the_same_scores(ensemble, x):
    joined = ensemble.joined_by(GATE)
    tensors, values = joined.state()
    common = {"seen": joined.seen, "unseen": joined.unseen, "combination": joined.combination}
    again = Ensemble.from_state(tensors, {**values, **common})
    assert_same_scores(again, ensemble, x)
    assert torch.equal(again.scores(x), joined.scores(x))
    assert [part.config for part in again.parts] == [part.config for part in ensemble.parts]


def test_parts_are_told_apart_by_the_whole_of_their_numbers(parts, x):
    many = together(parts * 4)  # 1 and 11
    tensors, values = many.state()
    again = Ensemble.from_state(tensors, {**values, "seen": many.seen, "unseen": many.unseen, "combination": None})
    assert [part.seed for part in again.parts] == [0, 1, 2] * 4
    assert_same_scores(again, many, x)


@pytest.mark.parametrize("combination", [None, GATE, Stacking(0.3)])
def test_a_saved_ensemble_gives_the_same_scores(ensemble, x, problem, tmp_path, combination):
    joined = ensemble.joined_by(combination)
    save_model("methods.sadvae", joined, tmp_path / "together", {"protocol": "clean"})
    loaded, record = load_model(tmp_path / "together")
    assert isinstance(loaded, Ensemble)
    assert record == {"protocol": "clean"}
    assert loaded.combination == combination
    assert_same_scores(loaded, joined, x)
    if combination is not None:
        assert torch.equal(loaded.scores(x), joined.scores(x))
    names, semantics = ("new 1", "new 2"), problem.task.semantics[:2]
    assert_same_scores(loaded.with_classes(names, semantics), joined.with_classes(names, semantics), x)


def test_an_ensemble_that_was_loaded_can_be_saved_again(ensemble, x, tmp_path):
    save_model("methods.sadvae", ensemble, tmp_path / "first", {})
    save_model("methods.sadvae", load_model(tmp_path / "first")[0], tmp_path / "second", {})
    assert_same_scores(load_model(tmp_path / "second")[0], ensemble, x)
