"""What a search shows while it runs: a live leaderboard for people, or one line of JSON an event."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from platform.cli import event

_SHOWN = 5
_COLUMNS = {"harmonic_mean": "H", "seen": "s", "unseen": "u", "zsl": "ZSL", "ausuc": "AUSUC"}


class Watch(Protocol):
    """Hears what happens in a search."""

    def stage(self, name: str, done: int, total: int, fields: Sequence[str]) -> None:
        """A stage begins, with `done` of `total` trials known already; fields: those that it samples."""

    def trial(self, key: str, values: Mapping[str, Any], metrics: Mapping[str, float] | None) -> None:
        """A trial ended; metrics: None where it failed."""

    def close(self) -> None:
        """The search ended or was stopped."""


class LiveWatch:
    """A progress bar and the best trials so far; without a terminal, a line a trial."""

    def __init__(self, console: Console, metric: str, best_is_high: bool) -> None:
        self.console, self.metric, self.best_is_high = console, metric, best_is_high
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self.rows: list[tuple[str, Mapping[str, Any], Mapping[str, float]]] = []
        self.live = Live(self._shown(), console=console, refresh_per_second=4)
        if console.is_terminal:
            self.live.start()

    def stage(self, name: str, done: int, total: int, fields: Sequence[str]) -> None:
        self.task = self.progress.add_task(f"stage {name}", completed=done, total=total)
        self.rows, self.fields = [], fields
        if not self.console.is_terminal:
            self.console.print(f"stage {name}: {done} of {total} trials are done")

    def trial(self, key: str, values: Mapping[str, Any], metrics: Mapping[str, float] | None) -> None:
        self.progress.advance(self.task)
        if metrics is not None:
            self.rows.append((key, values, metrics))
            self.rows.sort(key=lambda row: row[2][self.metric], reverse=self.best_is_high)
        if self.console.is_terminal:
            self.live.update(self._shown())
        else:
            said = "failed" if metrics is None else f"{self.metric} {metrics[self.metric]:.4f}"
            self.console.print(f"  {key}: {said}")

    def close(self) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def _shown(self) -> Group:
        return Group(*([leaderboard(self.rows[:_SHOWN], self.fields)] if self.rows else []), self.progress)


class JsonWatch:
    """One line of JSON an event on standard output."""

    def stage(self, name: str, done: int, total: int, fields: Sequence[str]) -> None:
        event("stage", {"name": name, "done": done, "total": total, "fields": list(fields)})

    def trial(self, key: str, values: Mapping[str, Any], metrics: Mapping[str, float] | None) -> None:
        event("trial", {"key": key, "config": values, "metrics": metrics})

    def close(self) -> None:
        pass


def leaderboard(rows: Sequence[tuple[str, Mapping[str, Any], Mapping[str, float]]], fields: Sequence[str]) -> Table:
    """Trials with their metrics, in percent, on pseudo-unseen validation classes, and the sampled fields."""
    table = Table(title="best trials, on pseudo-unseen validation classes, %", title_justify="left")
    table.add_column("trial")
    for heading in _COLUMNS.values():
        table.add_column(heading, justify="right")
    for field in fields:
        table.add_column(field, justify="right")
    for key, values, metrics in rows:
        shown = [f"{100 * metrics[column]:.1f}" for column in _COLUMNS]
        table.add_row(key, *shown, *(_short(values.get(field)) for field in fields))
    return table


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)
