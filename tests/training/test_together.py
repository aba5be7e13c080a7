import pytest
import torch
from verbs import SMALL_FIELDS, write_small_dataset

from methods.sadvae import method
from platform.datasets.text import ClassText
from platform.training.ensembles import Ensemble, held_out_together
from platform.training.evaluation import all_metrics
from platform.training.protocols import ProtocolOptions, combined
from platform.training.saved_models import load_model
from platform.training.together import best_together, seeds_together
from platform.training.trainable import Experiment, read_held_out, train
from platform.zeroshot.choosing import latest_of_equals
from platform.zeroshot.gate import carried
from platform.zeroshot.normaliser import Normaliser
from platform.zeroshot.problem import ProblemOptions, load_problem

SPLITS = ("two", "random:2:0")
CONFIGS = ({"epochs": 2, "learning_rate": 1e-4}, {"epochs": 3}, {"epochs": 2, "z_r": 3, "seen_classifier": "features"})


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A function of one configuration and seeds, to an experiment on two splits."""
    dataset = write_small_dataset(tmp_path_factory.mktemp("data") / "small")

    def experiment(seeds=(0, 1, 2), **config):
        return Experiment(
            method="methods.sadvae",
            problem=ProblemOptions(dataset=dataset, split="two", text=ClassText(encoder="attributes")),
            protocol=ProtocolOptions(folds=2),
            configs=({**SMALL_FIELDS, **config},),
            seeds=seeds,
            splits=SPLITS,
            test=True,
        )

    return experiment


@pytest.fixture(scope="module")
def ranked(experiment, tmp_path_factory):
    """Each configuration's folder and outcomes, in an order."""
    folder, found = tmp_path_factory.mktemp("ranked"), []
    for i, config in enumerate(CONFIGS):
        found.append((folder / str(i), train(experiment(seeds=(0, 1, 2)[: 3 - i], **config), folder / str(i))))
    return found


@pytest.fixture(scope="module")
def samples(experiment):
    problem = experiment().problem
    return {s: load_problem(problem.on(s)).final("none").samples for s in SPLITS}


@pytest.fixture(scope="module")
def together(experiment, ranked):
    """The first configuration's seeds."""
    folder, outcomes = ranked[0]
    return seeds_together(experiment(**CONFIGS[0]), outcomes, folder)


def parts_of(ranked, split):
    return [(folder, o) for folder, outcomes in ranked for o in outcomes if o.split == split and o.models]


def held_out_of(ranked, split):
    return held_out_together([read_held_out(folder / o.held_out)[0] for folder, o in parts_of(ranked, split)])


def validated(ranked, split, metric):
    """What the configurations together reach on pseudo-unseen classes, from their files."""
    held_out = held_out_of(ranked, split)
    right = [
        ((unseen.argmax(1) + seen.shape[1])[labels >= seen.shape[1]], labels[labels >= seen.shape[1]])
        for seen, unseen, labels in held_out
    ]
    per_sample = [(predicted == labels).double().mean().item() for predicted, labels in right]
    joint = combined(method.configure(parts_of(ranked, split)[0][1].config), held_out).metrics
    return {**joint, "zsl_per_sample": sum(per_sample) / len(per_sample)}[metric]


def test_the_seeds_of_a_split_are_one_model(together, ranked, samples):
    folder, outcomes = ranked[0]
    assert [(o.split, o.ensemble, o.name, o.status) for o in together] == [
        (split, "3 seeds", "ensemble-3-seeds", "finished") for split in SPLITS
    ]
    for outcome in together:
        parts = [o for o in outcomes if o.split == outcome.split]
        for protocol in ("clean", "released"):
            model, record = load_model(folder / outcome.models[protocol])
            loaded = [load_model(folder / o.models[protocol]) for o in parts]
            single, scales = [m for m, _ in loaded], [Normaliser.from_record(r["normaliser"]) for _, r in loaded]
            assert isinstance(model, Ensemble)
            assert [part.seed for part in model.parts] == [0, 1, 2]
            assert (record["protocol"], record["problem"]["split"]) == (protocol, outcome.split)
            assert outcome.test[protocol] == all_metrics(model, samples[outcome.split])
            x = samples[outcome.split].features
            expected = torch.stack([p.unseen_scores(own(x)).exp() for p, own in zip(single, scales, strict=True)])
            torch.testing.assert_close(model.unseen_scores(x).exp(), expected.mean(dim=0))


def test_what_joins_both_sides_is_fitted_on_the_means_of_held_out_probabilities(together, ranked):
    folder, _ = ranked[0]
    for outcome in together:
        assert outcome.validation.keys() >= {"zsl", "zsl_per_sample", "harmonic_mean", "ausuc"}
        for metric in ("zsl_per_sample", "harmonic_mean", "ausuc"):
            assert outcome.validation[metric] == pytest.approx(validated(ranked[:1], outcome.split, metric))
        found = combined(method.configure(outcome.config), held_out_of(ranked[:1], outcome.split))
        sides = [read_held_out(own / o.held_out)[1]["clean"] for own, o in parts_of(ranked[:1], outcome.split)]
        mean = [torch.stack([s[side].exp() for s in sides]).mean(0).log() for side in (0, 1)]
        ours = load_model(folder / outcome.models["clean"])[0].combination
        expected = carried(found.combination, found.seen_share, *mean)
        assert (ours.kind, ours.temperature, ours.coefficients) == (
            expected.kind,
            expected.temperature,
            expected.coefficients,
        )
        assert ours.intercept == pytest.approx(expected.intercept, abs=1e-4)


def test_one_seed_is_no_ensemble(experiment, ranked):
    folder, outcomes = ranked[2]
    assert {o.seed for o in outcomes} == {0}
    assert seeds_together(experiment(seeds=(0,), **CONFIGS[2]), outcomes, folder) == []


def test_a_seed_that_diverged_is_left_out(experiment, ranked, tmp_path):
    folder, outcomes = ranked[0]
    failed = [o if (o.split, o.seed) != ("two", 1) else failure(o) for o in outcomes]
    first, second = seeds_together(experiment(**CONFIGS[0]), failed, folder)
    assert (first.ensemble, second.ensemble) == ("2 seeds", "3 seeds")
    assert [part.seed for part in load_model(folder / first.models["clean"])[0].parts] == [0, 2]


def failure(outcome):
    return outcome.model_copy(update={"status": "failed", "models": {}, "held_out": "", "test": {}, "validation": {}})


@pytest.mark.parametrize("metric", ["zsl_per_sample", "harmonic_mean", "ausuc"])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_the_best_k_is_the_one_that_validates_best(experiment, ranked, samples, tmp_path, order, metric):
    ordered = [ranked[i] for i in order]
    found = best_together(experiment(), ordered, metric, tmp_path)
    assert [outcome.split for outcome in found] == list(SPLITS)
    for outcome in found:
        by_fold = torch.tensor([on_each_fold(ordered[: k + 1], outcome.split, metric) for k in range(3)])
        best = latest_of_equals(by_fold.double()).place
        assert outcome.ensemble == f"best {best + 1}"
        assert outcome.validation[metric] == pytest.approx(validated(ordered[: best + 1], outcome.split, metric))
        model, _ = load_model(tmp_path / outcome.models["clean"])
        expected = [(o.seed, o.config["z_r"]) for _, o in parts_of(ordered[: best + 1], outcome.split)]
        assert [(part.seed, part.config.z_r) for part in model.parts] == expected
        assert outcome.test["clean"] == all_metrics(model, samples[outcome.split])


def on_each_fold(ranked, split, metric):
    """What the configurations together reach on each fold, with what joins both sides fitted on all."""
    config = method.configure(parts_of(ranked, split)[0][1].config)
    return [fold[metric] for fold in combined(config, held_out_of(ranked, split)).by_fold]


def test_ensembles_are_no_parts_of_others(experiment, ranked, together, tmp_path):
    folder, outcomes = ranked[0]
    with_them = [(folder, [*outcomes, *together]), *ranked[1:]]
    plain, again = (best_together(experiment(), r, "ausuc", tmp_path) for r in (ranked, with_them))
    assert plain == again
    assert [o.ensemble for o in seeds_together(experiment(), with_them[0][1], folder)] == ["3 seeds"] * 2


def test_a_best_configuration_that_failed_on_a_split_is_passed_over_there(experiment, ranked, tmp_path):
    folder, outcomes = ranked[0]
    failed = [failure(o) if o.split == "two" else o for o in outcomes]
    found = best_together(experiment(), [(folder, failed), *ranked[1:]], "ausuc", tmp_path)
    two = next(o for o in found if o.split == "two")
    by_fold = torch.tensor([on_each_fold(ranked[1 : k + 1], "two", "ausuc") for k in (1, 2)])
    best = 1 + latest_of_equals(by_fold.double()).place
    assert two.ensemble == f"best {best + 1}"
    assert two.validation["ausuc"] == pytest.approx(validated(ranked[1 : best + 1], "two", "ausuc"))


def test_a_split_on_which_all_failed_has_no_ensemble(experiment, ranked, tmp_path):
    failed = [(folder, [failure(o) if o.split == "two" else o for o in outcomes]) for folder, outcomes in ranked]
    assert [o.split for o in best_together(experiment(), failed, "ausuc", tmp_path)] == [SPLITS[1]]
