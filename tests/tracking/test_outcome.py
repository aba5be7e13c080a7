"""What becomes of outcomes in MLflow."""

import pytest

from platform.tracking.outcome import record_of, record_of_trial
from platform.training.trainable import Outcome

MEAN, SPREAD = {"harmonic_mean": 0.5}, {"harmonic_mean": 0.125}


def outcome(seed=0, split="two", status="finished", **changes):
    values = {
        "key": "only-0000",
        "config": {"beta_x": 0.5},
        "seed": seed,
        "split": split,
        "status": status,
        "epochs": [{"zsl": 0.25}, {"zsl": 0.5}],
        "epoch": 1,
        "validation": {"harmonic_mean": 0.375},
        "seconds": 2.0,
    }
    return Outcome(**values | changes)


def failed(seed, reason="not finite"):
    return outcome(seed, status="failed", reason=reason, epochs=[], epoch=None, validation={})


def test_an_outcome_is_a_run_with_each_metric_under_its_protocol(tmp_path):
    tested = outcome(
        test={"clean": {"zsl": 0.75}, "released": {"zsl": 1.0}},
        test_epochs=[{"zsl": 0.625}],
        models={"clean": "models/0-clean", "released": "models/0-released"},
    )
    record = record_of("best-seed-0", tested, tmp_path)
    assert record.metrics == {
        "validation/harmonic_mean": 0.375, "clean/zsl": 0.75, "released/zsl": 1.0, "seconds": 2.0, "chosen_epoch": 1,
    }  # fmt: skip
    assert record.epochs == [
        {"epoch": 0, "validation/epoch/zsl": 0.25},
        {"epoch": 1, "validation/epoch/zsl": 0.5},
        {"epoch": 0, "released/epoch/zsl": 0.625},
    ]
    assert record.params == {"beta_x": 0.5, "seed": 0, "split": "two"}
    assert (record.status, record.tags) == ("FINISHED", {"outcome": "finished"})
    assert record.artifacts == [tmp_path / "models/0-clean", tmp_path / "models/0-released"]


def test_captions_beside_a_model_are_a_table(tmp_path):
    models = {"clean": "models/0-clean", "released": "models/0-released"}
    (tmp_path / "models/0-clean").mkdir(parents=True)
    (tmp_path / "models/0-clean/captions.csv").write_text("sample,caption\n")
    record = record_of("best-seed-0", outcome(models=models), tmp_path)
    assert record.tables == {"captions-clean": tmp_path / "models/0-clean/captions.csv"}
    assert record_of("best-seed-0", outcome(models=models), None).tables == {}


def test_an_ensemble_says_what_predicts_together():
    assert record_of("best", outcome(ensemble="2 seeds"), None).tags == {"outcome": "finished", "ensemble": "2 seeds"}


def test_counts_of_classes_and_samples_are_tags():
    tags = record_of("best", outcome(counts={"unseen": 5, "unseen_samples": 80}), None).tags
    assert tags == {"outcome": "finished", "counts.unseen": "5", "counts.unseen_samples": "80"}


def test_a_trial_of_one_seed_is_one_run():
    assert record_of_trial("only-0000", [outcome()], MEAN, SPREAD) == record_of("only-0000", outcome(), None)


def test_a_trial_of_several_holds_their_mean_and_deviation_and_a_run_for_each():
    several = [outcome(seed, split, seconds=seed) for split in ("two", "one") for seed in (0, 1)]
    record = record_of_trial("only-0000", several, MEAN, SPREAD)
    assert record.metrics == {
        "validation/harmonic_mean": 0.5, "validation/harmonic_mean_std": 0.125, "seconds": 1.0,
    }  # fmt: skip
    assert record.params == {"beta_x": 0.5, "members": 4}
    assert (record.status, record.tags, record.epochs) == ("FINISHED", {"outcome": "finished"}, ())
    keys = [f"only-0000/{split}/seed-{seed}" for split in ("two", "one") for seed in (0, 1)]
    assert [member.key for member in record.members] == keys
    assert list(record.members) == [record_of(key, o, None) for key, o in zip(keys, several, strict=True)]


@pytest.mark.parametrize(
    ("outcomes", "tags", "status"),
    [
        (
            [failed(0), outcome(1)],
            {"outcome": "failed", "reason": "1 of 2 seeds and splits failed: not finite"},
            "FAILED",
        ),
        (
            [failed(0, "first"), failed(1), outcome(2, status="stopped")],
            {"outcome": "failed", "reason": "2 of 3 seeds and splits failed: first"},
            "FAILED",
        ),
        ([outcome(0, status="stopped"), outcome(1, status="stopped")], {"outcome": "stopped"}, "FINISHED"),
    ],
)
def test_a_trial_says_how_it_ended(outcomes, tags, status):
    record = record_of_trial("only-0000", outcomes, {}, {})
    assert (record.status, record.tags) == (status, tags)


def test_a_single_trial_that_failed_or_stopped_says_so():
    assert record_of_trial("a", [failed(0)], {}, {}).tags == {"outcome": "failed", "reason": "not finite"}
    stopped = record_of_trial("a", [outcome(status="stopped")], {}, {})
    assert (stopped.status, stopped.tags) == ("FINISHED", {"outcome": "stopped"})
