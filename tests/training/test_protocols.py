import math
from dataclasses import replace

import pytest
import torch

from methods.sadvae import method
from platform.errors import InputError
from platform.training.protocols import Candidate, ProtocolOptions, Workplace, _pooled, test, validate
from platform.zeroshot.evaluation import all_metrics
from platform.zeroshot.gate import Gate, Stacking
from platform.zeroshot.task import Samples

test.__test__ = False  # the platform's, not a test of pytest's

CPU = torch.device("cpu")
EPOCHS = 4
SMALL = {"epochs": EPOCHS, "z_r": 8, "z_v": 4, "learning_rate": 2e-3, "classifier_samples": 20, "classifier_steps": 30}
JOINT = {f"{side}{kind}" for side in ("seen", "unseen", "harmonic_mean") for kind in ("", "_per_sample")}
ALL = {"zsl", "zsl_per_sample", "ausuc"} | JOINT
OPTIONS = ProtocolOptions(folds=2)


def candidate(seed=0, **values):
    return Candidate(method.configure({**SMALL, **values}), seed)


@pytest.fixture
def candidates():
    return [candidate(), candidate(1, combination="hard", learning_rate=5e-3), candidate(2, combination="stacking")]


@pytest.fixture
def validations(problem, candidates):
    return validate(method, problem, candidates, OPTIONS, Workplace(CPU))


def test_each_candidate_is_validated_over_its_folds(validations):
    for validation in validations:
        assert len(validation.epochs) == EPOCHS
        assert set(validation.metrics) == ALL
        zsl = [epoch["zsl"] for epoch in validation.epochs]
        assert validation.epoch == zsl.index(max(zsl))
        assert validation.metrics["zsl"] == max(zsl)
        assert all(0 <= value <= 1 for value in validation.metrics.values())
    kinds = [type(v.combination) for v in validations]
    assert kinds == [Gate, Gate, Stacking]
    assert [v.combination.kind for v in validations[:2]] == ["soft", "hard"]


def test_validation_reads_no_test_sample(problem, candidates, validations):
    worthless = replace(problem, test=Samples(problem.test.features * torch.nan, problem.test.labels * 0))
    assert validate(method, worthless, candidates, OPTIONS, Workplace(CPU)) == validations


def test_validation_knows_no_unseen_class(problem, candidates, validations):
    semantics = problem.task.semantics.clone()
    semantics[8:] = torch.nan
    blind = replace(problem, task=replace(problem.task, semantics=semantics))
    assert validate(method, blind, candidates, OPTIONS, Workplace(CPU)) == validations


def test_a_candidate_is_validated_beside_others_as_alone(problem, candidates, validations):
    (alone,) = validate(method, problem, candidates[1:2], OPTIONS, Workplace(CPU))
    assert alone.epoch == validations[1].epoch
    assert alone.metrics == pytest.approx(validations[1].metrics, abs=0.02)


def test_a_candidate_whose_numbers_overflow_is_none_and_harms_no_other(problem, candidates, validations):
    wild = [candidate(learning_rate=1e30), candidate(learning_rate=1e30, seen_classifier="latent")]
    found = validate(method, problem, [wild[0], *candidates, wild[1]], OPTIONS, Workplace(CPU))
    assert (found[0], found[-1]) == (None, None)
    for beside, before in zip(found[1:-1], validations, strict=True):
        assert beside.metrics == pytest.approx(before.metrics, abs=0.02)


def test_an_overflow_in_the_very_last_step_is_found(make_problem):
    # one step in all: its losses are those of the starting weights, finite
    options = {"learning_rate": 1e38, "epochs": 1, "batch_size": 64}
    assert validate(method, make_problem(8), [candidate(**options)], ProtocolOptions(), Workplace(CPU)) == [None]


def test_too_few_held_out_samples_are_refused(make_problem):
    problem = make_problem(2)
    rows = torch.cat([torch.arange(4), torch.arange(5, 16)])  # a class of one sample, which then cannot be held out
    task = replace(problem.task, features=problem.task.features[rows], labels=problem.task.labels[rows])
    small = replace(
        problem, task=replace(task, groups=None), published_folds=[[f"seen {i}" for i in (0, 1, 3, 4, 5, 6)]]
    )
    with pytest.raises(InputError, match="too few to join seen and unseen scores"):
        validate(method, small, [candidate()], ProtocolOptions(seen_fraction=0.01), Workplace(CPU))


def test_each_protocol_tests_its_own_epoch(problem, candidates, validations):
    chosen = [replace(v, epoch=epoch) for v, epoch in zip(validations, (1, 0, 2), strict=True)]
    fold = problem.final()
    tested = test(method, fold, candidates, chosen, ProtocolOptions(), Workplace(CPU))
    for result, validation in zip(tested, chosen, strict=True):
        assert len(result.epochs) == EPOCHS
        per_sample = [epoch["zsl_per_sample"] for epoch in result.epochs]
        assert result.metrics["clean"]["zsl_per_sample"] == per_sample[validation.epoch]
        assert result.metrics["released"]["zsl_per_sample"] == max(per_sample)
        for protocol, model in result.models.items():
            assert model.combination == validation.combination
            assert set(result.metrics[protocol]) == ALL
            assert result.metrics[protocol] == all_metrics(model, fold.samples)


def test_the_clean_protocol_alone_looks_at_the_test_once(problem, candidates, validations, monkeypatch):
    chosen = [replace(v, epoch=epoch) for v, epoch in zip(validations, (1, 0, 1), strict=True)]
    looked = []
    monkeypatch.setattr("platform.training.protocols.zero_shot_metrics", lambda *_: looked.append(1))
    clean = test(method, problem.final(), candidates, chosen, ProtocolOptions(protocols=("clean",)), Workplace(CPU))
    assert not looked
    monkeypatch.undo()
    both = test(method, problem.final(), candidates, chosen, ProtocolOptions(), Workplace(CPU))
    for result, leaking in zip(clean, both, strict=True):
        assert len(result.epochs) == 2  # no further than the last chosen one
        assert set(result.metrics) == {"clean"}
        assert result.metrics["clean"] == leaking.metrics["clean"]


class Cut(Exception):
    """A kill."""


def test_both_stages_go_on_after_a_kill_with_the_same_numbers(problem, candidates, validations, tmp_path):
    fold = problem.final()
    expected = test(method, fold, candidates, validations, ProtocolOptions(), Workplace(CPU))
    heard = []

    def cut(stage, epoch, metrics):
        heard.append((stage, epoch))
        if epoch == 2:
            raise Cut

    def work(report=None):
        place = Workplace(CPU, tmp_path, checkpoint_seconds=0, report=report)
        found = validate(method, problem, candidates, OPTIONS, place)
        return found, test(method, fold, candidates, found, ProtocolOptions(), place)

    for _ in range(2):
        with pytest.raises(Cut):
            work(cut)
    assert heard == [*(("validation", e) for e in range(3)), ("validation", 3), *(("test", e) for e in range(3))]
    found, tested = work()
    assert found == validations
    assert [t.metrics for t in tested] == [t.metrics for t in expected]
    assert [t.epochs for t in tested] == [t.epochs for t in expected]


def test_folds_of_other_sizes_are_pooled_by_class_number():
    log = torch.log_softmax
    first = (log(torch.randn(3, 4), 1), log(torch.randn(3, 2), 1), torch.tensor([0, 3, 5]))
    second = (log(torch.randn(2, 3), 1), log(torch.randn(2, 3), 1), torch.tensor([2, 5]))
    seen, unseen, labels = _pooled([first, second])
    assert (seen.shape, unseen.shape) == ((5, 4), (5, 3))
    assert labels.tolist() == [0, 3, 5, 2, 6]
    assert seen[3:, 3].tolist() == [-math.inf] * 2
    assert unseen[:3, 2].tolist() == [-math.inf] * 3
    torch.testing.assert_close(torch.cat([seen, unseen], 1)[3:, [0, 1, 2, 4, 5, 6]], torch.cat(second[:2], 1))
