"""What the verbs share: the application, errors as one line, and output for people or for programs."""

import json
import sys
import traceback
import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

import typer
from rich.console import Console

from platform.errors import InputError, InputWarning

console = Console(width=None if sys.stdout.isatty() else 140)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def application(summary: str) -> typer.Typer:
    """A Typer application for one verb; start it with `run`."""
    return typer.Typer(
        help=summary,
        epilog="--debug shows the traceback of an error.",
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def run(app: typer.Typer, name: str) -> None:
    """Run a verb as a process: exit code 0, or 2 and one line where an option, a file or a field is wrong.

    A verb that is stopped with Ctrl-C says how to go on and exits with 130 itself.
    """
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    _say_warnings()
    try:
        app(arguments, prog_name=f"python -m {name}")
    except InputError as error:
        if len(arguments) < len(sys.argv) - 1:
            traceback.print_exc()
        _errors.print(f"error: {error}", style="red", markup=False)
        sys.exit(2)


def _say_warnings() -> None:
    """Show our own warnings as a line each; those of libraries stay as they are."""
    show = warnings.showwarning

    def shown(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, InputWarning):
            say(f"warning: {message}")
        else:
            show(message, category, *where)

    warnings.showwarning = shown


def stopped(resume: str, workers: int = 1, address: str | None = None) -> NoReturn:
    """Print how to resume, on as many workers, and exit as after Ctrl-C."""
    resume += f" --workers {workers}" if workers > 1 else ""  # the number of workers affects the random draws
    resume += f" --address {address}" if address is not None else ""
    say(f"stopped; go on with: {resume}")
    raise typer.Exit(130)


def say(text: str) -> None:
    """Print a line to standard error, so that `--json` output stays valid."""
    _errors.print(text, markup=False)


def line(text: str) -> None:
    """Print a line to standard output, neither wrapped nor coloured."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def event(kind: str, values: Mapping[str, object]) -> None:
    """Print one line of JSON to standard output, for `--json`."""
    print(json.dumps({"event": kind, **values}, default=str), flush=True)
