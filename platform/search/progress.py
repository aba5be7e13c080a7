"""What a search shows while it runs: a live leaderboard for people, or one line of JSON an event."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from platform.cli import event

_SHOWN = 5
_COLUMNS = {"harmonic_mean": "H", "seen": "s", "unseen": "u", "zsl": "ZSL", "ausuc": "AUSUC"}


@dataclass(frozen=True)
class Row:
    """A completed trial: mean and standard deviation of its metrics over seeds and splits; none where it failed."""

    key: str
    values: Mapping[str, Any]
    status: str  # finished, stopped or failed
    metrics: Mapping[str, float]
    spread: Mapping[str, float]


@dataclass
class Pace:
    """How fast trials end, since this driver started."""

    total: int
    known: int  # trials done before
    done: int = 0
    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = time.monotonic()

    @property
    def trials_an_hour(self) -> float | None:
        return self.done / (time.monotonic() - self.started) * 3600 if self.done else None

    @property
    def seconds_left(self) -> float | None:
        pace = self.trials_an_hour
        return (self.total - self.known - self.done) / pace * 3600 if pace else None


class Watch(Protocol):
    """Receives the events of a search."""

    def stage(self, name: str, done: int, total: int, fields: Sequence[str], rows: Sequence[Row] = ()) -> None:
        """A stage begins, with `done` of `total` trials known already.

        fields: those that it and the stages before it sample; rows: the completed trials that its own are compared
        with.
        """

    def trial(self, row: Row) -> None:
        """A trial is complete."""

    def tested(self, key: str) -> None:
        """One of the best configurations has been tested."""

    def said(self, text: str) -> None:
        """A message for the user: a lost worker, a store that is down."""

    def close(self) -> None:
        """The search ended or was stopped."""


class LiveWatch:
    """A progress bar and the best trials so far; without a terminal, a line a trial."""

    def __init__(self, console: Console, metric: str, best_is_high: bool, validated_on: str = "") -> None:
        """validated_on: the note on classes and chance level beside validation's accuracies."""
        self.console, self.metric, self.best_is_high, self.validated_on = console, metric, best_is_high, validated_on
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, _PaceColumn(), console=console)
        self.rows: list[Row] = []
        self.fields: Sequence[str] = ()
        self.live = Live(self._shown(), console=console, refresh_per_second=2)
        if console.is_terminal:
            self.live.start()

    def stage(self, name: str, done: int, total: int, fields: Sequence[str], rows: Sequence[Row] = ()) -> None:
        self.pace = Pace(total, done)
        self.task = self.progress.add_task(f"stage {name}", completed=done, total=total, pace=self.pace)
        if fields:  # the final test has none
            self.rows, self.fields = [], fields
            self._rank(rows)
        if not self.console.is_terminal:
            self.console.print(f"stage {name}: {done} of {total} are done")

    def trial(self, row: Row) -> None:
        self.pace.done += 1
        self.progress.advance(self.task)
        self._rank([row])
        if self.console.is_terminal:
            self.live.update(self._shown())
        else:
            reached = f"{self.metric} {row.metrics[self.metric]:.4f}" if row.metrics else ""
            said = {"finished": reached, "stopped": f"stopped early at {reached}", "failed": "failed"}[row.status]
            self.console.print(f"  {row.key}: {said}")

    def said(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, markup=False)  # an error's words may hold brackets

    def tested(self, key: str) -> None:
        self.pace.done += 1
        self.progress.advance(self.task)

    def close(self) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def _rank(self, rows: Sequence[Row]) -> None:
        self.rows += [row for row in rows if row.status == "finished"]
        self.rows.sort(key=lambda r: r.metrics[self.metric], reverse=self.best_is_high)

    def _shown(self) -> Group:
        best = [leaderboard(self.rows[:_SHOWN], self.fields, validated_on=self.validated_on)] if self.rows else []
        return Group(*best, self.progress)


class JsonWatch:
    """One line of JSON an event on standard output."""

    def stage(self, name: str, done: int, total: int, fields: Sequence[str], rows: Sequence[Row] = ()) -> None:
        self.pace = Pace(total, done)
        event("stage", {"name": name, "done": done, "total": total, "fields": list(fields)})

    def trial(self, row: Row) -> None:
        self.pace.done += 1
        pace = {"trials_an_hour": self.pace.trials_an_hour, "seconds_left": self.pace.seconds_left}
        values = {"key": row.key, "config": row.values, "status": row.status}
        event("trial", {**values, "metrics": row.metrics or None, "spread": row.spread or None, **pace})

    def said(self, text: str) -> None:
        event("message", {"text": text})

    def tested(self, key: str) -> None:
        event("tested", {"key": key})

    def close(self) -> None:
        pass


def leaderboard(
    rows: Sequence[Row], fields: Sequence[str], front: Sequence[str] = (), validated_on: str = "", split: str = ""
) -> Table:
    """Trials of all stages with their metrics, in percent, on pseudo-unseen validation classes, and the sampled fields.

    front: keys of those on the Pareto front, which are marked; validated_on: the note on classes and chance level;
    split: where they are of a single one.
    """
    of_split = f" of {split}" if split else ""
    title = f"best trials, on pseudo-unseen validation classes{of_split}, %"
    table = Table(title=escape(title), title_justify="left", caption_justify="left")
    table.add_column("trial")
    for heading in _COLUMNS.values():
        table.add_column(heading, justify="right")
    for field in fields:
        table.add_column(field, justify="right")
    for row in rows:
        spread = [f" ± {100 * row.spread[column]:.1f}" if any(row.spread.values()) else "" for column in _COLUMNS]
        shown = [f"{100 * row.metrics[c]:.1f}{s}" for c, s in zip(_COLUMNS, spread, strict=True)]
        mark = " *" if row.key in front else ""
        table.add_row(row.key + mark, *shown, *(_short(row.values.get(field)) for field in fields))
    notes = (*(["*: on the Pareto front"] if front else []), *([validated_on] if validated_on else []))
    table.caption = escape("\n".join(notes)) if notes else None
    return table


class _PaceColumn(ProgressColumn):
    """Trials an hour and the time left."""

    def render(self, task: Task) -> Text:
        pace: Pace = task.fields["pace"]
        if pace.trials_an_hour is None:
            return Text("")
        left = timedelta(seconds=round(pace.seconds_left))
        return Text(f"{pace.trials_an_hour:,.0f} an hour, {left} left")


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)
