"""ReGen in the SIMULATED world of `benchmarks.regen_world`: the rows of the paper's Tables 1 and 2, over several seeds.

python -m benchmarks.regen_demo runs/regen-demo --seeds 3

Each seed has a world of its own: clips, and a CLIP, a language model and a captioner that were trained on nothing else.
REST's stage is trained once; the rows go on from there for equally many epochs and are tested after the last, so that
nothing is chosen by any class's accuracy. What is done is written down row by row: the same call goes on with the rest.
"""

import argparse
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import keep
from benchmarks.regen_world.data import data_folder
from benchmarks.regen_world.world import SPLIT, World, world
from methods.regen import method
from methods.regen.clip_towers import shared_clip
from methods.regen.config import ReGenConfig
from methods.regen.grammar import shared_masked_lm
from methods.regen.learner import ReGenLearner
from methods.regen.model import ReGenModel
from methods.regen.rewards import clip_reward
from platform.datasets.simulator.actions import ACTIONS
from platform.datasets.simulator.captions import is_grammatical, named
from platform.files import write_json
from platform.method import Member
from platform.training.evaluation import all_metrics, caption_metrics
from platform.workers import Workers
from platform.zeroshot.gate import Stacking
from platform.zeroshot.problem import Problem, ProblemOptions, load_problem

REST_EPOCHS, EPOCHS = 8, 6
SETTING = {
    "rest_epochs": REST_EPOCHS,
    "rest_learning_rate": 3e-4,
    "rest_captions": 3,
    "epochs": REST_EPOCHS + EPOCHS,
    "learning_rate": 5e-5,
    "explore": "sample",
    "tau": 0.1,
    "decoding": "greedy",
    "max_tokens": 20,
    "normalise": "none",
}
_CPU = torch.device("cpu")
_ACTION = {action.name: action for action in ACTIONS}


@dataclass(frozen=True)
class Row:
    """A row of the table. values: over SETTING; rest, epochs: whether REST's stage came before, and epochs after it."""

    values: Mapping[str, Any] = field(default_factory=dict)
    rest: bool = True
    epochs: int = EPOCHS


# the paper's Tables 1 and 2; the baseline of its Fig. 3c; and what goes before them
ROWS = {
    "the captioner": Row(rest=False, epochs=0),
    "REST": Row(epochs=0),
    "REST, as long": Row({"rest_epochs": REST_EPOCHS + EPOCHS, "epochs": REST_EPOCHS + EPOCHS + 1}),
    "class names": Row({"objective": "class_names"}),
    "CLS-R": Row({"lambda_clip": 0, "lambda_grammar": 0}),
    "CLS-R, CLIP-R": Row({"lambda_grammar": 0}),
    "CLS-R, GRAMMAR-R": Row({"lambda_clip": 0}),
    "all three (LM)": Row(),
    "all three (discriminator)": Row({"grammar": "discriminator"}),
}
# what is told of a row: its heading, and by what it is multiplied
COLUMNS = {
    "zsl": ("unseen classes, %", 100),
    "unseen": ("unseen among all, %", 100),
    "seen": ("seen among all, %", 100),
    "clip_reward": ("CLIP-R", 1),
    "log_likelihood": ("LM, nats a token", 1),
    "grammatical": ("in the grammar, %", 100),
    "caption_unique_words": ("words a class", 1),
    "different": ("different captions, %", 100),
    "verb": ("names a verb, %", 100),
    "verb_right": ("the right one, %", 100),
    "part_right": ("the right part, %", 100),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/regen-demo"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, help="train the rows of this seed alone, and show no table")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(asked.seeds) if asked.seed is None else [asked.seed]
    worlds = [world(asked.folder / f"seed{seed}", seed) for seed in seeds]
    found = [trained_rows(made) for made in worlds]
    if asked.seed is None:
        _show(found, worlds)


def trained_rows(made: World) -> dict[str, Mapping[str, float]]:
    """Each row's metrics in a world; those that stand in its folder are read, the others are trained."""
    rest, found = None, {}
    problem = load_problem(ProblemOptions(dataset=data_folder(made), split=SPLIT))
    for name, row in ROWS.items():
        path = made.folder / "rows" / f"{name}.json"
        if not path.exists():
            if row.rest and rest is None:
                rest = _learner(made, problem, {})
                for _ in range(REST_EPOCHS):
                    rest.train_epoch()
            learner = _learner(made, problem, row.values, rest.state() if row.rest else None)
            losses = [learner.train_epoch() for _ in range(row.epochs)]
            path.parent.mkdir(exist_ok=True)
            write_json(path, {"epochs": losses, **measured(learner.model(), problem, made)})
        found[name] = json.loads(path.read_text())["metrics"]
    return found


def _learner(
    made: World, problem: Problem, values: Mapping[str, Any], state: Mapping[str, Any] | None = None
) -> ReGenLearner:
    models = {"captioner": made.captioner, "clip": made.clip, "language_model": made.language, "corpus": made.actions}
    config = ReGenConfig(**{**SETTING, **{name: str(path) for name, path in models.items()}, **values})
    return method.learner(Member(problem.task, config, made.seed, state), Workers(_CPU))


def measured(model: ReGenModel, problem: Problem, made: World) -> dict[str, Any]:
    """`metrics` of a trained model, and the `captions` of the test clips of unseen classes, with their classes."""
    seen, names = len(model.seen), (*model.seen, *model.unseen)
    unseen = problem.test.where(problem.test.labels >= seen)
    captions, classes = model.captions(unseen.features), [names[label] for label in unseen.labels.tolist()]
    clip, rows = shared_clip(str(made.clip), _CPU), torch.arange(len(classes)).split(16)
    clips = torch.cat([clip.frames(unseen.features.decoded(own)) for own in rows])
    said = [(named(text), _ACTION[name]) for text, name in zip(captions, classes, strict=True)]
    found = {
        "clip_reward": clip_reward(clips, clip.text(captions)).mean().item(),
        "log_likelihood": shared_masked_lm(str(made.language), _CPU).scores(captions).mean().item(),
        "grammatical": _share(is_grammatical(text) for text in captions),
        "different": len(set(captions)) / len(captions),
        "verb": _share("verb" in factors for factors, _ in said),
        "verb_right": _share(factors.get("verb") == action.verb.name for factors, action in said),
        "part_right": _share(factors.get("part") == action.part for factors, action in said),
    }
    model = model.joined_by(Stacking(0.0))  # the nearest of all class names
    metrics = all_metrics(model, problem.test) | caption_metrics(model, unseen) | found
    return {"metrics": metrics, "captions": list(zip(classes, captions, strict=True))}


def _share(truths: Iterable[bool]) -> float:
    return statistics.mean(map(float, truths))


def _show(found: Sequence[Mapping[str, Mapping[str, float]]], worlds: Sequence[World]) -> None:
    """Print and keep the table: mean ± standard deviation over the seeds, and differences to REST, seed by seed."""
    rows = []
    for name in ROWS:
        cells = [_spread([own[name][key] for own in found], scale) for key, (_, scale) in COLUMNS.items()]
        gained = _spread([own[name]["zsl"] - own["REST"]["zsl"] for own in found], 100)
        rows.append([name, cells[0], "–" if name == "REST" else gained, *cells[1:]])
    headings = [heading for heading, _ in COLUMNS.values()]
    clips = worlds[0].clips
    tested, unseen = int(clips.of_classes(worlds[0].unseen).sum()), len(worlds[0].unseen)
    classes = len(clips.class_names)
    direct = [
        next(float(row[2]) / 100 for row in made.rows() if row[1] == "zero-shot, unseen classes, %") for made in worlds
    ]
    setting = ", ".join(f"{name}={value}" for name, value in SETTING.items())
    notes = [
        f"Simulated clips and sentences. {len(found)} seeds, each with clips and models of its own: mean ± standard "
        f"deviation over the seeds. {tested} clips of {unseen} unseen classes a seed; chance is {100 / unseen:.1f} % "
        f"among these, {100 / classes:.1f} % among all {classes} classes. `seen among all` is of clips of seen "
        "classes, everything else of clips of unseen classes. CLIP and the language model are those of the rewards.",
        f"CLIP, of the clips themselves without any caption: {_spread(direct, 100)} % of the unseen classes.",
        f"Every row after REST: {EPOCHS} epochs, the last one's model. {setting}; the rest as the paper has it. These "
        "values were chosen in the world of seed 0, its unseen classes in view; the other worlds had no part in it.",
    ]
    keep("regen-demo", "ReGen in a SIMULATED world", ["", headings[0], "over REST, points", *headings[1:]], rows, notes)


def _spread(values: Sequence[float], scale: float) -> str:
    digits = 1 if scale == 100 else 2
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return f"{scale * statistics.mean(values):.{digits}f} ± {scale * spread:.{digits}f}"


if __name__ == "__main__":
    main()
