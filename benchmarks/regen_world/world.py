"""Makes the world: a corpus, clips, and a tokenizer, CLIP, BERT and GIT trained on them, each saved once.

A part is written under a temporary name and renamed, and one that is there is not made again; so a world whose making
was stopped goes on with the same call.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, BertForMaskedLM, CLIPModel, GitForCausalLM, PreTrainedTokenizerFast

from benchmarks.regen_world.captioner import trained_captioner
from benchmarks.regen_world.clip import trained_clip
from benchmarks.regen_world.fitting import plain_patches
from benchmarks.regen_world.language import trained_language_model
from benchmarks.regen_world.measure import measured
from benchmarks.regen_world.tokens import image_processor, trained_tokenizer
from platform.datasets.simulator.captioned_clips import CaptionedClips, captioned_clips
from platform.datasets.simulator.captions import corpus, named
from platform.errors import InputError
from platform.files import held, write_json, writing
from platform.population.draws import generator, named_draws

SPLIT = "12-unseen"
SIDE = 64
_SENTENCES, _HELD_OUT = 6000, 1000
_CARD = """# A simulated world

SIMULATED: the clips are drawn stick figures, the sentences come from a small grammar, and the models were trained on
them alone. Numbers tell how a method behaves here, and nothing of real videos.
"""


@dataclass(frozen=True)
class World:
    """A world's folder. `clip`, `language` and `captioner` are Hugging Face folders, each with the tokenizer, the first
    and the last with the image processor; `corpus` has a sentence a line, `actions` those of them that name an action;
    `report` holds what the models reach."""

    folder: Path
    seed: int
    subjects: int  # of the data set

    @property
    def clip(self) -> Path:
        return self.folder / "clip"

    @property
    def language(self) -> Path:
        return self.folder / "language"

    @property
    def captioner(self) -> Path:
        return self.folder / "captioner"

    @property
    def corpus(self) -> Path:
        return self.folder / "corpus.txt"

    @property
    def actions(self) -> Path:
        return self.folder / "actions.txt"

    @property
    def report(self) -> Path:
        return self.folder / "world.json"

    @cached_property
    def clips(self) -> CaptionedClips:
        """The data set: clips that no model of the world was trained on, made anew from the seed."""
        return captioned_clips(self.seed, self.subjects, side=SIDE)

    @cached_property
    def unseen(self) -> list[str]:
        """The unseen classes' names."""
        return self.clips.splits[SPLIT].unseen

    def rows(self) -> list[list[object]]:
        """The table of what the models reach (`measure.HEADING`)."""
        return json.loads(self.report.read_text())["reached"]


def world(folder: Path, seed: int = 0, effort: float = 1.0, subjects: int = 32, teachers: int = 160) -> World:
    """The world in `folder`, made where it is not there yet.

    effort: of each training, 1 being some ten minutes of one core in all; subjects: of the data set; teachers:
    subjects of the clips of seen classes that the models are trained on, which are others. Raises InputError where
    another process is at work in the folder, or where it holds a world that was asked for otherwise.
    """
    made = World(folder, seed, subjects)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        _agree(folder / "asked.json", {"seed": seed, "effort": effort, "subjects": subjects, "teachers": teachers})
        if not made.report.exists():
            _make(made, effort, teachers)
    return made


def _agree(path: Path, asked: dict[str, float]) -> None:
    """Write down what was asked for, or raise InputError where it was something else before."""
    if not path.exists():
        write_json(path, asked)
    for name, value in json.loads(path.read_text()).items():
        if asked[name] != value:
            raise InputError(f"{path.parent}: a world of {name} {value}, not {asked[name]}; name another folder")


def _make(made: World, effort: float, teachers: int) -> None:
    seconds: dict[str, float] = {}
    lessons = Lessons(made.seed, teachers)
    telling = [s for s in lessons.sentences if "verb" in named(s)]
    for path, sentences in ((made.corpus, lessons.sentences), (made.actions, telling)):
        _part(path, seconds, lambda partial, lines=sentences: partial.write_text("\n".join(lines) + "\n"))
    (made.folder / "README.md").write_text(_CARD)

    def clip(path: Path) -> None:
        model = trained_clip(lessons.clips, lessons.tokenizer, effort, _numbers(made.seed, "clip"))
        _save(path, model, lessons.tokenizer)

    def language(path: Path) -> None:
        sentences = lessons.sentences
        _save(path, trained_language_model(sentences, lessons.tokenizer, effort, _numbers(made.seed, "language")),
              lessons.tokenizer, pictures=False)  # fmt: skip

    def captioner(path: Path) -> None:
        beginning = CLIPModel.from_pretrained(made.clip)
        rng = _numbers(made.seed, "captioner")
        _save(path, trained_captioner(lessons.clips, beginning, lessons.tokenizer, effort, rng), lessons.tokenizer)

    for path, make in ((made.clip, clip), (made.language, language), (made.captioner, captioner)):
        with named_draws(torch.device("cpu"), "regen world", made.seed, path.name):
            _part(path, seconds, make)
    tokenizer = AutoTokenizer.from_pretrained(made.clip)
    rows = measured(
        made.clips, made.unseen, lessons.sentences, lessons.held_out, tokenizer,
        CLIPModel.from_pretrained(made.clip).eval(),
        BertForMaskedLM.from_pretrained(made.language).eval(), GitForCausalLM.from_pretrained(made.captioner).eval(),
        _numbers(made.seed, "measure"),
    )  # fmt: skip
    write_json(
        made.report,
        {"simulated": True, "seed": made.seed, "effort": effort, "split": SPLIT, "subjects": made.subjects,
         "teachers": teachers, "processor_seconds": seconds, "reached": rows},
    )  # fmt: skip


class Lessons:
    """What the models are trained on, made when it is first asked for."""

    def __init__(self, seed: int, teachers: int) -> None:
        self._seed, self._teachers = seed, teachers

    @cached_property
    def clips(self) -> CaptionedClips:
        """Of seen classes, by other subjects than the data set's."""
        everything = captioned_clips(self._seed + 1_000_003, self._teachers, side=SIDE)
        return everything.chosen(~everything.of_classes(everything.splits[SPLIT].unseen))

    @cached_property
    def sentences(self) -> list[str]:
        return corpus(_SENTENCES, _numbers(self._seed, "corpus"))

    @cached_property
    def held_out(self) -> list[str]:
        """Sentences of the same grammar that are not in the corpus."""
        known = set(self.sentences)
        return [s for s in corpus(_HELD_OUT, _numbers(self._seed, "held out")) if s not in known]

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        return trained_tokenizer(self.sentences)


def _numbers(*names: object) -> np.random.Generator:
    draw = generator("regen world", *names)
    return np.random.default_rng(int(torch.randint(1 << 62, (), generator=draw)))


def _part(path: Path, seconds: dict[str, float], make: Callable[[Path], object]) -> None:
    """Make a file or a folder under a temporary name and rename it, unless it is there."""
    if path.exists():
        return
    started, partial = time.process_time(), path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with writing(path.parent):
        make(partial)
        partial.replace(path)
    seconds[path.stem] = round(time.process_time() - started, 1)


def _save(path: Path, model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, pictures: bool = True) -> None:
    plain_patches(model)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    if pictures:
        image_processor(SIDE).save_pretrained(path)
    (path / "README.md").write_text(_CARD)
