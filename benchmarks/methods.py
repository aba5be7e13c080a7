"""Member-steps a second of each skeleton method, alone and packed: `python -m benchmarks.methods`.

Input in NTU-60's shape, as in benchmarks.population; JPoSE and SynSE take verbs and nouns, 1024 dimensions each. All
train with a batch of 64 and their papers' sizes. The named baseline is the method's own population of one, in the same
round.
"""

import argparse
import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from benchmarks.population import second_epoch, task_of
from benchmarks.record import keep
from platform.method import Member, load_method
from platform.training.devices import device_of
from platform.zeroshot.task import Task

BATCH, STEPS = 64, 30
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "sadvae": {},
    "synse": {"cycle": STEPS, "beta_start": STEPS // 2, "beta_y_start": STEPS // 2, "alpha_start": STEPS // 2},
    "cadavae": {},
    "revise": {},
    "jpose": {},
    "smie": {},
}
_PARTS_OF_SPEECH = ("synse", "jpose")


def rate(name: str, task: Task, device: torch.device, members: int) -> float:
    """Member-steps a second in the second epoch of `STEPS` steps."""
    method = load_method(f"methods.{name}")
    config = method.configure({"batch_size": BATCH, "epochs": 2, **FIELDS[name]})
    return members * STEPS / second_epoch(method, [Member(task, config, seed) for seed in range(members)], device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packs", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="as a search's trials have it")
    parser.add_argument("--methods", nargs="+", default=list(FIELDS), choices=list(FIELDS))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = device_of(asked.device)
    plain = task_of(STEPS * BATCH)
    parts = replace(plain, semantics=torch.cat([plain.semantics, plain.semantics.roll(1, 0)], dim=1))
    rows = []
    for name in asked.methods:
        task = parts if name in _PARTS_OF_SPEECH else plain
        rounds = [[rate(name, task, device, members) for members in (1, *asked.packs)] for _ in range(asked.repeats)]
        alone = statistics.median(found[0] for found in rounds)
        row = [name, f"{alone:.0f}"]
        for place, _ in enumerate(asked.packs, 1):
            packed = statistics.median(found[place] for found in rounds)
            ratio = statistics.median(found[place] / found[0] for found in rounds)
            row.append(f"{packed:.0f} ({ratio:.2f})")
        rows.append(row)
    keep(
        f"methods-{device.type}",
        f"Skeleton methods: member-steps a second, alone and packed, {device.type}",
        ["method", "alone", *(f"pack of {members} (times alone)" for members in asked.packs)],
        rows,
        [f"Medians of {asked.repeats} rounds, ratios within a round; threads: {asked.threads}."],
    )


if __name__ == "__main__":
    main()
