"""What a search shows while it runs, and what it says to programs."""

import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from platform.search import progress
from platform.search.progress import JsonWatch, LiveWatch, Pace, Row, leaderboard


@pytest.fixture
def clock(monkeypatch):
    """The clock, which a test sets."""
    shown = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: shown.now))
    return shown


def metrics(value):
    return dict.fromkeys(("harmonic_mean", "seen", "unseen", "zsl", "ausuc"), value)


def finished(key, value, spread=0.0, **values):
    return Row(key, values, "finished", metrics(value), metrics(spread))


def stopped(key, value):
    return Row(key, {}, "stopped", metrics(value), metrics(0.0))


def failed(key):
    return Row(key, {}, "failed", {}, {})


def printed(table):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


def flat(lines):
    """A caption's words, which are broken into lines as wide as the table."""
    return " ".join(" ".join(lines).split())


def test_without_a_terminal_each_trial_is_a_line(capsys):
    watch = LiveWatch(Console(width=100), "harmonic_mean", best_is_high=True)
    watch.stage("betas", 1, 4, ["beta_x"])
    watch.trial(finished("betas-0001", 0.25))
    watch.trial(stopped("betas-0002", 0.125))
    watch.trial(failed("betas-0003"))
    watch.stage("test", 0, 1, [])
    watch.tested("best-0")
    watch.close()
    assert capsys.readouterr().out.splitlines() == [
        "stage betas: 1 of 4 are done",
        "  betas-0001: harmonic_mean 0.2500",
        "  betas-0002: stopped early at harmonic_mean 0.1250",
        "  betas-0003: failed",
        "stage test: 0 of 1 are done",
    ]


def test_what_is_said_is_said_as_it_is(capsys):
    said = "pack betas-0001 failed (ValueError: expected [/data] or [bold], not [2, 3])"
    LiveWatch(Console(width=20), "zsl", best_is_high=True).said(said)
    assert capsys.readouterr().out == f"{said}\n"


@pytest.mark.parametrize(("best_is_high", "order"), [(True, [0.8, 0.5, 0.2]), (False, [0.2, 0.5, 0.8])])
def test_the_best_trials_that_came_to_their_end_are_shown_first(best_is_high, order):
    watch = LiveWatch(Console(), "zsl", best_is_high)
    watch.stage("only", 0, 5, [])
    for i, value in enumerate((0.5, 0.8, 0.2)):
        watch.trial(finished(f"only-{i}", value))
    watch.trial(stopped("only-3", 0.9))
    watch.trial(failed("only-4"))
    assert [row.metrics["zsl"] for row in watch.rows] == order


def test_a_stage_adds_to_the_best_trials_of_those_before_it():
    watch = LiveWatch(Console(), "zsl", best_is_high=True)
    watch.stage("first", 0, 2, ["beta_x"])
    watch.trial(finished("first-0000", 0.8))
    over = [finished("first-0000", 0.8), failed("first-0001"), finished("second-0000", 0.2)]
    watch.stage("second", 1, 3, ["beta_x", "n_d"], over)  # as after a kill: its own are among them
    watch.trial(finished("second-0001", 0.5))
    watch.stage("test", 0, 1, [])
    assert [row.key for row in watch.rows] == ["first-0000", "second-0001", "second-0000"]
    assert watch.fields == ["beta_x", "n_d"]


def test_a_pace_counts_what_this_driver_did(clock):
    pace = Pace(total=10, known=4)
    assert pace.trials_an_hour is None
    assert pace.seconds_left is None
    clock.now += 60
    pace.done = 2
    assert pace.trials_an_hour == pytest.approx(120)
    assert pace.seconds_left == pytest.approx(4 * 30)


def test_a_terminal_shows_the_pace_beside_the_bar(clock, capsys):
    watch = LiveWatch(Console(width=200, force_terminal=True), "zsl", best_is_high=True)
    watch.stage("only", 0, 3, [])
    assert not any("an hour" in line for line in printed(watch.progress))
    clock.now += 90
    watch.trial(finished("only-0", 0.5))
    watch.close()
    assert any("40 an hour, 0:03:00 left" in line for line in printed(watch.progress))
    assert "only-0" in capsys.readouterr().out  # the best so far


def test_programs_are_told_each_trial_with_its_numbers_and_the_pace(capsys, clock):
    watch = JsonWatch()
    watch.stage("only", 1, 4, ["beta_x"])
    clock.now += 10
    watch.trial(finished("only-0001", 0.5, spread=0.25, beta_x=0.125))
    watch.trial(failed("only-0002"))
    watch.said("one line")
    watch.tested("best-0")
    watch.close()
    stage, first, second, message, tested = map(json.loads, capsys.readouterr().out.splitlines())
    assert stage == {"event": "stage", "name": "only", "done": 1, "total": 4, "fields": ["beta_x"]}
    assert (first["key"], first["status"], first["config"]) == ("only-0001", "finished", {"beta_x": 0.125})
    assert (first["metrics"]["zsl"], first["spread"]["zsl"]) == (0.5, 0.25)
    assert (first["trials_an_hour"], first["seconds_left"]) == pytest.approx((360, 20))
    assert (second["status"], second["metrics"], second["spread"]) == ("failed", None, None)
    assert (second["trials_an_hour"], second["seconds_left"]) == pytest.approx((720, 5))
    assert message == {"event": "message", "text": "one line"}
    assert tested == {"event": "tested", "key": "best-0"}


def test_a_leaderboard_shows_percent_with_their_spread_and_the_sampled_fields():
    rows = [finished("only-0", 0.5, 0.025, beta_x=0.12345, batch_size=32), finished("only-1", 0.25, noise="sample")]
    lines = printed(leaderboard(rows, ["beta_x", "batch_size", "noise"]))
    (first,) = [line for line in lines if "only-0" in line]
    (second,) = [line for line in lines if "only-1" in line]
    assert first.count("50.0 ± 2.5") == 5
    assert "0.123" in first
    assert "32" in first
    assert "±" not in second
    assert second.count("25.0") == 5
    assert "sample" in second
    assert not any("Pareto" in line for line in lines)


def test_a_leaderboard_says_what_its_accuracies_must_be_read_with():
    said = "validation: ZSL of 2 classes, chance 50.0 %; s, u and H of 6 classes, chance 16.7 %; 1 fold"
    lines = printed(leaderboard([finished("only-0", 0.76)], [], validated_on=said, split="a [b]"))
    assert said in flat(lines)
    assert "validation classes of a [b], %" in flat(lines)
    watch = LiveWatch(Console(width=200), "zsl", best_is_high=True, validated_on=said)
    watch.stage("only", 0, 1, ["beta_x"])
    watch.trial(finished("only-0", 0.76))
    assert said in flat(printed(watch._shown()))


def test_a_leaderboard_marks_the_front():
    lines = printed(leaderboard([finished("only-0", 0.5), finished("only-1", 0.25)], [], front=["only-1"]))
    assert any("only-1 *" in line for line in lines)
    assert not any("only-0 *" in line for line in lines)
    assert any("*: on the Pareto front" in line for line in lines)
