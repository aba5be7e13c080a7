"""A benchmark's tables: printed, and kept in results/ with the commit and the command that made them."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

import platform

RESULTS = Path(__file__).with_name("results")
_LIBRARIES = ("torch", "ray", "numpy")
_UNCHANGED_BY = f":(exclude){RESULTS.parent.name}/{RESULTS.name}"  # what benchmarks wrote before does not change them


def keep(name: str, title: str, heading: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str]) -> None:
    """Print a Markdown table with what made it and write it to results/NAME-DATE.md."""
    keep_text(name, title, [markdown_table(heading, rows), "\n".join(notes)])


def keep_text(name: str, title: str, parts: Sequence[str]) -> None:
    """The same of several tables and texts, in their order.

    Where the commit cannot be found, everything is printed and nothing is kept: such a file could not be made again.
    """
    commit, facts = commit_of(RESULTS.parents[1]), made()
    lines = [f"- commit {commit or 'unknown'}", *(f"- {fact}" for fact in facts)]
    text = "\n\n".join([f"# {title}", "\n".join(lines), *filter(None, parts)]) + "\n"
    print(text)
    if not commit:
        print("not kept: the commit is unknown (no git, or no repository)", file=sys.stderr)
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}-{date.today()}.md").write_text(text)


def made() -> list[str]:
    """When, by which command, on what machine and with which libraries; no machine's name."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return [
        f"{date.today()}, by `{shlex.join(['python', *map(_placeless, sys.orig_argv[1:])])}`",
        f"{os.cpu_count()} cores ({_processor()}), {gpu}",
        f"Python {platform.python_version()}, {libraries}",
    ]


def _placeless(argument: str) -> str:
    """An argument without the folders of this machine: a file's or folder's own name."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def commit_of(repository: Path) -> str:
    """The commit's hash, marked where files differ from it, but for results; empty where there is no repository."""
    commit = _output("git", "-C", str(repository), "rev-parse", "HEAD")
    changed = _output("git", "-C", str(repository), "status", "--porcelain", "--", ".", _UNCHANGED_BY)
    return f"{commit} with uncommitted changes" if commit and changed else commit


def markdown_table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A GitHub table."""
    return "\n".join([_row(heading), _row(["---"] * len(heading)), *map(_row, rows)])


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _processor() -> str:
    """As lscpu calls it."""
    named = [line.partition(":")[2].strip() for line in _output("lscpu").splitlines() if line.startswith("Model name")]
    return named[0] if named else platform.machine()


def _output(*command: str) -> str:
    """What a program prints; nothing where there is no such program or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"})
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
