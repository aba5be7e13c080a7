"""Makes the SIMULATED world of `benchmarks.regen_world` in a folder, and shows what its models reach.

python -m benchmarks.regen_world runs/regen-world
"""

import argparse
from pathlib import Path

import torch

from benchmarks.record import keep
from benchmarks.regen_world.measure import HEADING
from benchmarks.regen_world.world import SPLIT, world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/regen-world"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--effort", type=float, default=1.0, help="of each training")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    made = world(asked.folder, asked.seed, asked.effort)
    keep(
        f"regen-world-seed{asked.seed}",
        "A SIMULATED world for ReGen: what its models reach",
        HEADING,
        made.rows(),
        [
            f"Simulated clips and sentences; class split `{SPLIT}`, accuracies per sample. The clips are of other "
            "subjects than those that the models were trained on, and none of those was of an unseen class.",
        ],
    )


if __name__ == "__main__":
    main()
