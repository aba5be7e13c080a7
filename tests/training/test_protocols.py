import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace

import pytest
import torch

from methods.sadvae import method
from platform.errors import InputError
from platform.method import MethodConfig
from platform.population.draws import generator
from platform.training import fitting
from platform.training.evaluation import all_metrics, zero_shot_from_scores
from platform.training.protocols import (
    Candidate,
    ProtocolOptions,
    TrainingContext,
    combined,
    pooled,
    refit_and_test,
    validate,
)
from platform.zeroshot.choosing import latest_of_equals
from platform.zeroshot.gate import THRESHOLDS, Gate, Stacking
from platform.zeroshot.steps import Steps
from platform.zeroshot.task import Samples

CPU = torch.device("cpu")
EPOCHS = 4
SMALL = {"epochs": EPOCHS, "z_r": 8, "z_v": 4, "learning_rate": 2e-3, "classifier_samples": 20, "classifier_steps": 30}
JOINT = {f"{side}{kind}" for side in ("seen", "unseen", "harmonic_mean") for kind in ("", "_per_sample")}
ALL = {"zsl", "zsl_per_sample", "ausuc"} | JOINT
TOP5 = {f"{side}_top5{kind}" for side in ("seen", "unseen") for kind in ("", "_per_sample")}  # of the test alone
OPTIONS = ProtocolOptions(folds=2)
CONTEXT = TrainingContext(CPU)


def config(**values):
    return method.configure({**SMALL, **values})


def validated(problem, configs, seeds=(0,), options=OPTIONS, context=CONTEXT, scheduler=None):
    return validate(method, {"a": problem}, configs, seeds, options, context, scheduler)


def results_of(problem, configs, validations, options=OPTIONS, context=CONTEXT):
    candidates = [Candidate(own, 0, "a") for own in configs.values()]
    chosen = [validations[key] for key in configs]
    return refit_and_test(method, {"a": problem}, candidates, chosen, options, context)


@pytest.fixture(scope="module")
def configs():
    return {"soft": config(), "hard": config(combination="hard", learning_rate=5e-3, z_r=5, z_v=6)} | {
        "stacking": config(combination="stacking", learning_rate=1e-3)
    }


@pytest.fixture(scope="module")
def validations(make_problem, configs):
    """By key."""
    return {key: validation for key, (validation,) in validated(make_problem(), configs).items()}


def close(metrics):
    return pytest.approx(metrics, abs=0.02)


def assert_agree(validations, expected):
    """The same to rounding: the company was another."""
    for validation, other in zip(validations, expected, strict=True):
        assert validation.epoch == other.epoch
        assert validation.metrics == close(other.metrics)
        assert_epochs_agree(validation, other)


def assert_epochs_agree(validation, other):
    for epoch, expected in zip(validation.epochs, other.epochs, strict=True):
        assert epoch.keys() == expected.keys()
        for name, value in expected.items():
            assert epoch[name] == (close(value) if name in ALL else pytest.approx(value, rel=1e-3, abs=1e-5))


def test_each_configuration_is_validated_over_its_folds(validations):
    for validation in validations.values():
        assert len(validation.epochs) == EPOCHS
        assert set(validation.metrics) == ALL
        assert validation.metrics["zsl"] == validation.epochs[validation.epoch]["zsl"]
        assert all(0 <= value <= 1 for value in validation.metrics.values())
    kinds = {key: type(v.combination) for key, v in validations.items()}
    assert kinds == {"soft": Gate, "hard": Gate, "stacking": Stacking}
    assert [validations[kind].combination.kind for kind in ("soft", "hard")] == ["soft", "hard"]


def test_given_logits_are_the_seen_scores_of_every_stage(problem):
    draw = generator(0, "logits")
    task = replace(problem.task, logits=torch.randn(len(problem.task.labels), 8, generator=draw))
    test = replace(problem.test, logits=torch.randn(len(problem.test.labels), 8, generator=draw))
    judged, configs = replace(problem, task=task, test=test), {"0": config(seen_classifier="logits")}
    (found,) = validated(judged, configs)["0"]
    folds = judged.validation_folds(OPTIONS.folds, OPTIONS.seen_fraction, OPTIONS.fold_seed)
    for (seen, _, _), fold in zip(found.held_out, folds, strict=True):
        torch.testing.assert_close(seen, torch.log_softmax(fold.samples.logits, 1))
    (result,) = results_of(judged, configs, {"0": found})
    held_out = judged.held_out(OPTIONS.seen_fraction, OPTIONS.fold_seed, "auto").samples
    for protocol, (seen, _) in result.held_out_seen.items():
        torch.testing.assert_close(seen, torch.log_softmax(held_out.logits, 1))
        assert result.metrics[protocol].items() >= all_metrics(result.models[protocol], test).items()
    assert set(result.held_out_seen) == {"clean", "released"}
    with pytest.raises(InputError, match="these samples have no logits"):
        result.models["clean"].scores(test.features)


def test_the_held_out_scores_are_those_of_the_chosen_epoch(validations, configs, problem):
    folds = problem.validation_folds(OPTIONS.folds, OPTIONS.seen_fraction, OPTIONS.fold_seed)
    for key, validation in validations.items():
        zsl = []
        for (seen, unseen, labels), fold in zip(validation.held_out, folds, strict=True):
            assert torch.equal(labels, fold.samples.labels)
            zsl.append(zero_shot_from_scores(unseen, labels, seen.shape[1])["zsl"])
        assert sum(zsl) / len(zsl) == pytest.approx(validation.metrics["zsl"])
        found = combined(configs[key], validation.held_out)
        assert found.combination == validation.combination
        assert found.metrics.items() <= validation.metrics.items()
        assert [fold["zsl"] for fold in validation.by_fold] == pytest.approx(zsl)
        for name in ("seen_per_sample", "unseen_per_sample"):  # as many samples of either side in each fold
            mean = sum(fold[name] for fold in validation.by_fold) / len(zsl)
            assert mean == pytest.approx(validation.metrics[name])


def test_the_epoch_is_chosen_by_every_pseudo_unseen_class_of_every_fold(problem, configs):
    told = []
    context = replace(CONTEXT, report=lambda stage, epoch, metrics: told.append(metrics))
    (validation,) = validated(problem, {"hard": configs["hard"]}, seeds=(0, 1), context=context)["hard"][:1]
    # seed by seed, fold by fold, on three classes each
    by_class = torch.tensor(
        [[[v for name, v in own.items() if name.startswith("zsl of class")] for own in epoch] for epoch in told]
    ).double()
    accuracies = by_class.view(EPOCHS, 2, 2 * 3).mean(1)
    choice = latest_of_equals(accuracies, 1 / 3)
    assert (validation.epoch, validation.above_chance) == (choice.place, choice.above_chance)
    for epoch, row in zip(validation.epochs, by_class.view(EPOCHS, 2, 6)[:, 0], strict=True):
        assert epoch["zsl"] == pytest.approx(row.mean().item())
        assert not any(name.startswith("zsl of class") for name in epoch)


def test_where_validation_sits_at_chance_the_last_epoch_is_chosen(make_problem, configs):
    problem = make_problem()
    shuffled = problem.task.semantics[torch.randperm(11, generator=generator(0, "shuffled"))]
    nonsense = replace(problem, task=replace(problem.task, semantics=shuffled))  # of other classes
    (validation,) = validated(nonsense, {"hard": configs["hard"]})["hard"]
    assert (validation.epoch, validation.above_chance) == (EPOCHS - 1, False)


def test_validation_reads_no_test_sample(problem, configs, validations):
    worthless = replace(problem, test=Samples(problem.test.features * torch.nan, problem.test.labels * 0))
    assert validated(worthless, configs) == {key: [validation] for key, validation in validations.items()}


def test_validation_knows_no_unseen_class(problem, configs, validations):
    semantics = problem.task.semantics.clone()
    semantics[8:] = torch.nan
    blind = replace(problem, task=replace(problem.task, semantics=semantics))
    assert validated(blind, configs) == {key: [validation] for key, validation in validations.items()}


def test_a_configuration_is_validated_beside_others_as_alone(problem, configs, validations):
    (alone,) = validated(problem, {"hard": configs["hard"]}).values()
    assert_agree(alone, [validations["hard"]])


def test_a_configuration_whose_numbers_overflow_is_none_and_harms_no_other(problem, configs, validations):
    wild = config(learning_rate=1e30), config(learning_rate=1e30, seen_classifier="latent")
    found = validated(problem, {"first": wild[0], **configs, "last": wild[1]})
    assert list(found) == ["first", *configs, "last"]
    assert found["first"] == found["last"] == [None]
    for key, before in validations.items():
        assert_agree(found[key], [before])


def test_an_overflow_in_the_very_last_step_is_found(make_problem):
    # one step in all: its losses are those of the starting weights, finite
    wild = {"wild": config(learning_rate=1e38, epochs=1, batch_size=64)}
    assert validated(make_problem(8), wild, options=ProtocolOptions()) == {"wild": [None]}


def test_too_few_held_out_samples_are_refused(make_problem):
    problem = make_problem(2)
    rows = torch.cat([torch.arange(4), torch.arange(5, 16)])  # a class of one sample, which then cannot be held out
    task = replace(problem.task, features=problem.task.features[rows], labels=problem.task.labels[rows])
    small = replace(
        problem, task=replace(task, groups=None), published_folds=[[f"seen {i}" for i in (0, 1, 3, 4, 5, 6)]]
    )
    with pytest.raises(InputError, match="too few to join seen and unseen scores"):
        validated(small, {"0": config()}, options=ProtocolOptions(folds=1, seen_fraction=0.01))


# Several splits and seeds


@pytest.fixture(scope="module")
def splits(make_problem):
    """Two problems of other data, and other counts of samples and of seen classes."""
    other = make_problem(17, 1)
    few = torch.nonzero(other.task.labels < 6).flatten()
    task = replace(
        other.task,
        seen=other.task.seen[:6],
        features=other.task.features[few],
        labels=other.task.labels[few],
        semantics=other.task.semantics[[0, 1, 2, 3, 4, 5, 8, 9, 10]],
    )
    kept = other.test.where((other.test.labels < 6) | (other.test.labels >= 8))
    test = replace(kept, labels=torch.where(kept.labels < 6, kept.labels, kept.labels - 2))
    return {"a": make_problem(), "b": replace(other, task=task, test=test)}


SEEDS = (4, 7, 9)


@pytest.fixture(scope="module")
def grid(splits, configs):
    """Validations of two configurations on both splits with three seeds."""
    chosen = {key: configs[key] for key in ("soft", "hard")}
    return validate(method, splits, chosen, SEEDS, OPTIONS, CONTEXT)


def test_the_answer_is_split_by_split_and_seed_by_seed(grid, splits, configs):
    assert list(grid) == ["soft", "hard"]
    for key, validations in grid.items():
        assert len({v.epochs[-1]["reconstruction"] for v in validations}) == len(splits) * len(SEEDS)
        for split, place in (("a", 1), ("b", 4)):
            alone = validate(method, {split: splits[split]}, {key: configs[key]}, SEEDS[1:2], OPTIONS, CONTEXT)
            found, (expected,) = validations[place], alone[key]
            assert_epochs_agree(found, expected)
            assert [len(fold) for fold in found.held_out] == [3, 3]
            for ours, theirs in zip(found.held_out, expected.held_out, strict=True):
                assert torch.equal(ours[2], theirs[2])
                if found.epoch == expected.epoch:
                    torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=0.02)


def test_the_seeds_of_a_split_choose_their_epoch_together(grid):
    for validations in grid.values():
        for own in (validations[: len(SEEDS)], validations[len(SEEDS) :]):
            (chosen,) = {v.epoch for v in own}
            for validation in own:
                assert validation.metrics["zsl"] == validation.epochs[chosen]["zsl"]
                zsl = [zero_shot_from_scores(u, labels, s.shape[1])["zsl"] for s, u, labels in validation.held_out]
                assert sum(zsl) / len(zsl) == pytest.approx(validation.metrics["zsl"])


def test_a_configuration_of_which_one_split_diverges_keeps_the_other(splits, configs):
    huge = replace(splits["b"].task, features=splits["b"].task.features * 1e30)
    found = validate(
        method,
        {"a": splits["a"], "b": replace(splits["b"], task=huge)},
        {"soft": configs["soft"]},
        SEEDS[:2],
        ProtocolOptions(),
        CONTEXT,
    )
    alone = validate(method, {"a": splits["a"]}, {"soft": configs["soft"]}, SEEDS[:2], ProtocolOptions(), CONTEXT)
    assert found["soft"][2:] == [None, None]
    assert_agree(found["soft"][:2], alone["soft"])


# Schedulers


@dataclass
class Plan:
    """A scheduler that does as it was told, and remembers what it was given.

    stops: the keys that stop at a rung; joining: what comes in after so many exchanges.
    """

    rungs: Collection[int]
    stops: Mapping[int, Collection[str]] = field(default_factory=dict)
    joining: Mapping[int, Mapping[str, MethodConfig]] = field(default_factory=dict)
    ended: dict[str, list] = field(default_factory=dict)
    waited: list[dict[str, int]] = field(default_factory=list)  # exchange by exchange: key to epochs
    reached: dict[tuple[str, int], list] = field(default_factory=dict)

    def is_rung(self, config, epochs):
        return epochs in self.rungs

    def exchange(self, ended, waiting):
        assert not ended.keys() & self.ended.keys()  # each is handed in once
        assert not ended.keys() & waiting.keys()
        self.ended |= ended
        self.waited.append({key: len(validations[0].epochs) for key, validations in waiting.items()})
        self.reached |= {(key, len(found[0].epochs)): found for key, found in waiting.items()}
        stopped = [k for k, found in waiting.items() if k in self.stops.get(len(found[0].epochs), ())]
        return stopped, self.joining.get(len(self.waited), {})


def test_a_scheduler_stops_and_admits_and_survivors_get_what_they_would_without_it(splits, configs):
    configs = configs | {"late": config(z_r=6, learning_rate=3e-3), "last": config(epochs=2)}
    first = {key: configs[key] for key in ("soft", "hard", "stacking")}
    late, last = ({key: configs[key]} for key in ("late", "last"))
    scheduler = Plan({1, 3}, stops={1: ["hard"], 3: ["late"]}, joining={1: late, 4: last})
    assert validate(method, splits, first, SEEDS[:2], OPTIONS, CONTEXT, scheduler) == {}
    assert scheduler.waited == [
        {"soft": 1, "hard": 1, "stacking": 1},
        {"late": 1},
        {"soft": 3, "stacking": 3},
        {"late": 3},  # the others have ended
        {"last": 1},
        {},
    ]
    assert list(scheduler.ended) == ["soft", "stacking", "last"]
    undisturbed = validate(method, splits, configs, SEEDS[:2], OPTIONS, CONTEXT)
    for key, validations in scheduler.ended.items():
        assert len(validations) == 4
        assert_agree(validations, undisturbed[key])


def test_at_a_rung_a_scheduler_is_given_what_a_shorter_training_would_reach(problem, configs):
    scheduler = Plan({2}, stops={2: ["soft", "hard"]})
    validated(problem, {key: configs[key] for key in ("soft", "hard")}, SEEDS[:2], scheduler=scheduler)
    assert not scheduler.ended
    short = {key: configs[key].model_copy(update={"epochs": 2}) for key in ("soft", "hard")}
    expected = validated(problem, short, SEEDS[:2])
    assert {key for key, _ in scheduler.reached} == {"soft", "hard"}
    for (key, epochs), validations in scheduler.reached.items():
        assert epochs == 2
        assert validations == expected[key]


def test_a_scheduler_may_let_all_go_on(problem, configs, validations):
    scheduler = Plan(range(EPOCHS))
    assert validated(problem, configs, scheduler=scheduler) == {}
    assert scheduler.ended == {key: [validation] for key, validation in validations.items()}
    assert [set(waiting.values()) for waiting in scheduler.waited] == [{1}, {2}, {3}, set()]


def test_the_last_epoch_is_no_rung(problem, configs):
    scheduler = Plan({EPOCHS}, stops={EPOCHS: ["soft"]})
    validated(problem, {"soft": configs["soft"]}, scheduler=scheduler)
    assert scheduler.waited == [{}]
    assert list(scheduler.ended) == ["soft"]


def test_a_scheduler_hears_once_of_what_diverged_and_may_fill_its_place(problem, configs, validations):
    wild = config(learning_rate=1e30)
    scheduler = Plan({EPOCHS - 1}, joining={1: {"hard": configs["hard"]}})
    validated(problem, {"wild": wild, "soft": configs["soft"]}, scheduler=scheduler)
    assert scheduler.ended.pop("wild") == [None]
    assert list(scheduler.ended) == ["soft", "hard"]
    for key, found in scheduler.ended.items():
        assert_agree(found, [validations[key]])


# Tests


def test_each_protocol_tests_its_own_epoch(problem, configs, validations):
    chosen = {k: replace(v, epoch=epoch) for (k, v), epoch in zip(validations.items(), (1, 0, 2), strict=True)}
    samples = problem.final().samples
    for result, validation in zip(results_of(problem, configs, chosen), chosen.values(), strict=True):
        assert len(result.epochs) == EPOCHS
        per_sample = [epoch["zsl_per_sample"] for epoch in result.epochs]
        assert result.metrics["clean"]["zsl_per_sample"] == per_sample[validation.epoch]
        assert result.metrics["released"]["zsl_per_sample"] == max(per_sample)
        for protocol, model in result.models.items():
            kept = (model.combination.margins(*result.held_out_seen[protocol]) > 0).double().mean().item()
            assert kept == pytest.approx(validation.seen_share, abs=1 / len(result.held_out_seen[protocol][0]))
            fitted = asdict(validation.combination)
            moved = [name for name, value in asdict(model.combination).items() if value != fitted[name]]
            assert moved in ([], ["intercept"], ["bias"])
            assert set(result.metrics[protocol]) == ALL | TOP5
            assert result.metrics[protocol] == all_metrics(model, samples)


def test_the_papers_combination_stays_as_it_was_validated(problem):
    papers = {"papers": config(calibration="validated", gate_inputs="probabilities", combination="hard")}
    (validation,) = validated(problem, papers)["papers"]
    (result,) = results_of(problem, papers, {"papers": validation})
    assert validation.seen_share is None
    assert result.held_out_seen == {}
    assert {model.combination for model in result.models.values()} == {validation.combination}
    assert validation.combination.threshold in THRESHOLDS


def test_configurations_are_validated_and_tested_on_features_as_they_want_them(problem, configs):
    scaled = {kind: configs["hard"].model_copy(update={"normalise": kind}) for kind in ("none", "standard", "scale")}
    found = {key: own for key, (own,) in validated(problem, scaled).items()}
    assert found["none"] == validated(problem, {"hard": configs["hard"]})["hard"][0]  # the data's own choice
    assert len({validation.epochs[-1]["reconstruction"] for validation in found.values()}) == 3
    for key, result in zip(scaled, results_of(problem, scaled, found), strict=True):
        samples = problem.final(key).samples
        assert result.metrics["clean"] == all_metrics(result.models["clean"], samples)


def test_the_clean_protocol_alone_looks_at_the_test_once(problem, configs, validations, monkeypatch):
    chosen = {k: replace(v, epoch=epoch) for (k, v), epoch in zip(validations.items(), (1, 0, 1), strict=True)}
    looked = []
    monkeypatch.setattr("platform.training.protocols.zero_shot_metrics", lambda *_: looked.append(1))
    clean = results_of(problem, configs, chosen, ProtocolOptions(protocols=("clean",)))
    assert not looked
    monkeypatch.undo()
    both = results_of(problem, configs, chosen)
    for result, leaking, validation in zip(clean, both, chosen.values(), strict=True):
        assert len(result.epochs) == validation.epoch + 1  # no further than the chosen one
        assert set(result.metrics) == {"clean"}
        assert result.metrics["clean"] == close(leaking.metrics["clean"])


def test_a_test_tells_the_average_steps_of_a_model_that_takes_some(problem, configs, validations, monkeypatch):
    def steps(model, x):
        predictions = torch.zeros(len(x), 5, dtype=torch.long)
        taken = torch.arange(len(x)) % 2 + 2
        return Steps(predictions, predictions.float(), taken, torch.zeros(len(x), 4, 4))

    monkeypatch.setattr(method.Model, "steps", steps, raising=False)
    one = {"soft": configs["soft"]}
    (result,) = results_of(problem, one, validations, ProtocolOptions(protocols=("clean",)))
    assert set(result.metrics["clean"]) == ALL | TOP5 | {"average_steps"}
    assert result.metrics["clean"]["average_steps"] == pytest.approx(2.5, abs=0.05)


def test_candidates_of_several_splits_are_tested_side_by_side(splits, configs, grid):
    named = [("soft", "a", 4, 0), ("hard", "b", 9, 5), ("soft", "b", 4, 3)]  # the last: its place in the grid
    candidates = [Candidate(configs[key], seed, split) for key, split, seed, _ in named]
    chosen = [grid[key][place] for key, _, _, place in named]
    together = refit_and_test(method, splits, candidates, chosen, OPTIONS, CONTEXT)
    for found, candidate, validation in zip(together, candidates, chosen, strict=True):
        own = {candidate.split: splits[candidate.split]}
        (alone,) = refit_and_test(method, own, [candidate], [validation], OPTIONS, CONTEXT)
        model = found.models["clean"]
        assert (model.seen, model.unseen) == (own[candidate.split].task.seen, own[candidate.split].task.unseen)
        assert found.metrics == {protocol: close(metrics) for protocol, metrics in alone.metrics.items()}


def test_what_diverges_on_all_seen_classes_is_none_and_harms_no_other(problem, configs, validations):
    wild = {"wild": config(learning_rate=1e30), "soft": configs["soft"]}
    found = results_of(problem, wild, {"wild": validations["soft"], "soft": validations["soft"]})
    (alone,) = results_of(problem, {"soft": configs["soft"]}, validations)
    assert found[0] is None
    assert found[1].metrics == {protocol: close(metrics) for protocol, metrics in alone.metrics.items()}


class Cut(Exception):
    """A kill."""


def test_both_stages_go_on_after_a_kill_with_the_same_numbers(problem, configs, validations, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "_WRITING_SHARE", math.inf)  # every epoch is written
    expected = results_of(problem, configs, validations)
    heard = []

    def cut(stage, epoch, metrics):
        heard.append((stage, epoch))
        if epoch == 2:
            raise Cut

    def work(report=None):
        context = TrainingContext(CPU, tmp_path, checkpoint_seconds=0, report=report)
        found = {key: own for key, (own,) in validated(problem, configs, context=context).items()}
        return found, results_of(problem, configs, found, context=context)

    for _ in range(2):
        with pytest.raises(Cut):
            work(cut)
    assert heard == [*(("validation", e) for e in range(3)), ("validation", 3), *(("test", e) for e in range(3))]
    found, results = work()
    assert found == validations
    assert [t.metrics for t in results] == [t.metrics for t in expected]
    assert [t.epochs for t in results] == [t.epochs for t in expected]


@pytest.mark.parametrize("epoch", range(5))
def test_a_pack_with_a_scheduler_goes_on_after_a_kill_with_the_same_numbers(
    problem, configs, validations, tmp_path, monkeypatch, epoch
):
    monkeypatch.setattr(fitting, "_WRITING_SHARE", math.inf)
    stops, joining = {2: ["hard"]}, {1: {"stacking": configs["stacking"]}}
    scheduler, reports = Plan({1, 2}, stops, joining), []

    def cut(*_):
        reports.append(1)
        if len(reports) == epoch + 1:
            raise Cut

    context = TrainingContext(CPU, tmp_path, checkpoint_seconds=0, report=cut)
    with pytest.raises(Cut):
        validated(problem, {key: configs[key] for key in ("soft", "hard")}, context=context, scheduler=scheduler)
    left = {"soft", "hard", "stacking"} - scheduler.ended.keys() - ({"hard"} if epoch > 0 else set())
    again = Plan({1, 2}, stops)
    validated(
        problem, {k: configs[k] for k in configs if k in left}, context=replace(context, report=None), scheduler=again
    )
    assert {**scheduler.ended, **again.ended}.keys() == {"soft", "stacking"}
    for key, found in {**scheduler.ended, **again.ended}.items():
        assert_agree(found, [validations[key]])


def test_folds_of_other_sizes_arepooled_by_class_number():
    log = torch.log_softmax
    first = (log(torch.randn(3, 4), 1), log(torch.randn(3, 2), 1), torch.tensor([0, 3, 5]))
    second = (log(torch.randn(2, 3), 1), log(torch.randn(2, 3), 1), torch.tensor([2, 5]))
    seen, unseen, labels = pooled([first, second])
    assert (seen.shape, unseen.shape) == ((5, 4), (5, 3))
    assert labels.tolist() == [0, 3, 5, 2, 6]
    assert seen[3:, 3].tolist() == [-math.inf] * 2
    assert unseen[:3, 2].tolist() == [-math.inf] * 3
    torch.testing.assert_close(torch.cat([seen, unseen], 1)[3:, [0, 1, 2, 4, 5, 6]], torch.cat(second[:2], 1))
