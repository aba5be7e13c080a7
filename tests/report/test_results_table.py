"""The tables of test results."""

import pytest
from rich.console import Console

from platform.report.results_table import by_kind, results_table
from platform.training.trainable import Outcome


def outcome(seed, value, ensemble="", split="two", **protocols):
    names = ("zsl", "zsl_per_sample", "seen", "unseen", "harmonic_mean", "ausuc")
    metrics = {protocol: dict.fromkeys(names, v) for protocol, v in {"clean": value, **protocols}.items()}
    return Outcome(config={}, seed=seed, split=split, status="finished", ensemble=ensemble, test=metrics)


def shown(kinds, counts=(), extractor=()):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(results_table(kinds, counts, extractor))
    return capture.get().splitlines()


def test_single_models_and_each_ensemble_have_a_value_a_seed_and_split():
    outcomes = [
        outcome(0, 0.5),
        outcome(1, 0.25),
        outcome(0, 0.75, split="one"),
        outcome(0, 0.6, ensemble="2 seeds"),
        outcome(0, 0.7, ensemble="best 2"),
        outcome(0, 0.8, ensemble="best 2", split="one"),
    ]
    found = by_kind(outcomes)
    assert {kind: protocols["clean"]["zsl"] for kind, protocols in found.items()} == {
        "single": [0.5, 0.25, 0.75],
        "ensemble of 2 seeds": [0.6],
        "ensemble of best 2": [0.7, 0.8],
    }


def test_top_5_and_cider_have_columns_where_they_were_measured():
    plain, other = outcome(0, 0.5), outcome(0, 0.6, ensemble="2 seeds")
    measured = {"clean": {**plain.test["clean"], "zsl_top5": 0.875, "cider": 0.405}}
    lines = shown(by_kind([plain.model_copy(update={"test": measured}), other]))
    assert any("87.5" in line and "40.5" in line for line in lines)
    assert any("ZSL top-5" in line and "CIDEr" in line for line in lines)
    assert not any("top-5" in line for line in shown(by_kind([plain])))


def test_a_seed_that_failed_counts_nowhere():
    failed = Outcome(config={}, seed=1, split="two", status="failed")
    assert by_kind([failed, outcome(0, 0.5)])["single"]["clean"]["zsl"] == [0.5]


def test_the_table_shows_percent_and_their_deviation_where_there_are_several():
    lines = shown(by_kind([outcome(0, 0.5), outcome(1, 0.75), outcome(0, 0.625, ensemble="2 seeds")]))
    (single,) = [line for line in lines if "single" in line]
    (ensemble,) = [line for line in lines if "ensemble of 2 seeds" in line]
    assert single.count("62.5 ± 17.7") == 6
    assert ensemble.count("62.5") == 6
    assert "±" not in ensemble
    assert not any("leaks" in line for line in lines)


@pytest.mark.parametrize("kinds", [[""], ["", "2 seeds"]])
def test_the_released_protocol_is_always_labelled(kinds):
    lines = shown(by_kind([outcome(0, 0.5, ensemble=kind, released=0.9) for kind in kinds]))
    assert sum("90.0" in line and "released" in line for line in lines) == len(kinds)
    assert "it leaks" in " ".join(" ".join(lines).split())


def test_features_that_are_not_clean_mark_every_protocol():
    lines = shown(by_kind([outcome(0, 0.5, released=0.9)]), (), ("unseen", "pretrained"))
    assert sum("clean §¶" in line or "released §¶" in line for line in lines) == 2
    said = " ".join(" ".join(lines).split())
    for line in ("§ the features' extractor was trained on unseen classes", "¶ the features' extractor", "it leaks"):
        assert line in said


def test_classes_chance_and_samples_stand_below():
    counts = {"seen": 22, "unseen": 5, "seen_samples": 350, "unseen_samples": 80}
    lines = " ".join(" ".join(shown(by_kind([outcome(0, 0.5, released=0.6)]), [counts])).split())
    assert "ZSL among 5 classes, chance 20.0 %" in lines
    assert "80 test samples of unseen classes" in lines
    assert "it leaks" in lines
