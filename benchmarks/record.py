"""A benchmark's table: printed, and kept with its date and machine in results/."""

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import torch

import platform

_RESULTS = Path(__file__).with_name("results")


def keep(name: str, title: str, heading: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str]) -> None:
    """Print a Markdown table and write it to results/NAME-DATE.md."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    machine = f"{date.today()}, {os.cpu_count()} CPUs ({_processor()}), {gpu}, torch {torch.__version__}"
    lines = [f"# {title}", "", machine, "", _row(heading), _row(["---"] * len(heading)), *map(_row, rows), "", *notes]
    text = "\n".join(lines) + "\n"
    print(text)
    (_RESULTS / f"{name}-{date.today()}.md").write_text(text)


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
