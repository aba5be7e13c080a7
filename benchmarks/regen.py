"""ReGen's steps at GIT-base's size against the plain way of taking them: `python -m benchmarks.regen`.

The plain way is the named baseline, on the same clips, weights, networks and threads: no cache of keys and values, so
that all tokens so far, the visual ones included, go through the decoder for each new one; the vision tower run for each
caption; each caption's reward computed by itself, also where it was met before; the language model given one masked
position a pass. Both ways must find the same captions, with the same rewards and the same gradient.

Then the memory of a training worker on a folder of clips ten times as large as what it may hold besides its own.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor

from benchmarks.frames import peak_mib
from benchmarks.random_models import save_random_model
from benchmarks.record import keep
from methods.regen import method
from methods.regen.captioners import Captioner, Captions, Decoding
from methods.regen.decoding import searched
from methods.regen.grammar import MaskedLanguageModel
from methods.regen.learner import ReGenLearner
from methods.regen.rewards import Rewards
from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.frames_file import writing_frames
from platform.method import Member
from platform.workers import Workers
from platform.zeroshot.task import Task

SEEN, UNSEEN = ("kick ball", "throw ball", "climb rope", "row boat"), ("swing golf club",)
_SIDE = 224
_CPU = torch.device("cpu")


class PlainCaptioner:
    """A captioner whose `visual` are the frames themselves: every caption runs the vision tower for itself."""

    def __init__(self, captioner: Captioner) -> None:
        self.captioner = captioner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.captioner, name)

    def visual(self, frames: Tensor) -> Tensor:
        return frames

    @torch.no_grad()
    def generate(self, frames: Tensor, decoding: Decoding) -> Captions:
        own = self.captioner
        steps = _PlainSteps(own, own.visual(frames.repeat_interleave(decoding.count, dim=0)), len(frames))
        found = searched(steps, len(frames), decoding, own.network.marks, own.max_tokens, frames.device)
        words = [[own.tokenizer.decode(row, skip_special_tokens=True) for row in rows] for rows in found.tokens]
        return replace(found, texts=words)

    def log_probabilities(self, frames: Tensor, tokens: Tensor) -> Tensor:
        repeated = frames.repeat_interleave(len(tokens) // len(frames), dim=0)
        return self.captioner.log_probabilities(self.captioner.visual(repeated), tokens)


class _PlainSteps:
    """A search's step without a cache: visual tokens and all tokens so far, for each caption. visual: (N·K, L, d)."""

    def __init__(self, captioner: Captioner, visual: Tensor, clips: int) -> None:
        self.network, self.visual = captioner.network, visual
        self.tokens = torch.empty(clips, len(visual) // clips, 0, dtype=torch.long)

    def __call__(self, last: Tensor, rows: Tensor | None) -> Tensor:
        if rows is not None:
            self.tokens = self.tokens.gather(1, rows[..., None].expand_as(self.tokens))
        self.tokens = torch.cat([self.tokens, last[..., None]], dim=-1)
        memory = self.network.memory(self.visual)
        hidden, _ = self.network.text(self.tokens.flatten(0, 1)[:, None], memory, None)
        return self.network.log_probabilities(hidden[:, 0, -1]).view(*last.shape, -1)


class QuickRewards(Rewards):
    """The method's own, which notes what it was asked and has answered."""

    noted: list[tuple[list[str], Tensor]]

    def __call__(self, texts: Sequence[str], labels: Tensor, clips: Tensor) -> dict[str, Tensor]:
        found = super().__call__(texts, labels, clips)
        self.noted.append((list(texts), found["total"].clone()))
        return found


class PlainRewards(QuickRewards):
    """Each text for itself."""

    def of_texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        values = torch.cat([self._computed([text]) for text in texts])
        return values[:, :-1], values[:, -1]


@dataclass
class Way:
    """One of the two ways: its seconds, and what it found."""

    plain: bool
    steps: list[float] = field(default_factory=list)  # seconds of an epoch
    exploring: list[float] = field(default_factory=list)  # of finding and rewarding the captions of one batch
    rewarding: list[float] = field(default_factory=list)  # of rewarding them
    told: Mapping[str, float] = field(default_factory=dict)
    noted: list[tuple[list[str], Tensor]] = field(default_factory=list)
    gradient: Tensor | None = None  # of some weights, as the optimiser's first moment has it

    def learner(self, task: Task, values: Mapping[str, Any]) -> ReGenLearner:
        learner = method.learner(Member(task, method.configure(values), 0), Workers(_CPU))
        if self.plain:
            learner.captioner = PlainCaptioner(learner.captioner)
            learner.grammar = MaskedLanguageModel(learner.grammar.model, learner.grammar.tokenizer, rows=1)
        own = learner.config
        weights = (own.lambda_cls, own.lambda_clip, own.lambda_grammar)

        def rewards() -> Rewards:
            kind = PlainRewards if self.plain else QuickRewards
            found = kind(learner.clip, learner.grammar, learner.classes, *weights, tau=own.tau)
            found.noted = self.noted = []
            return found

        learner._rewards = rewards
        return learner

    def round(self, task: Task, values: Mapping[str, Any]) -> None:
        """An epoch from the beginning, and the captions of a batch."""
        learner = self.learner(task, values)
        rows, clips = slice(0, learner.config.batch_size), learner.clips  # embedded before, once for both
        self._explore(learner, task.features.decoded(rows), task.labels[rows], clips[rows])
        started = time.perf_counter()
        self.told = learner.train_epoch()
        self.steps.append(time.perf_counter() - started)
        parts = [own["exp_avg"].flatten()[:4096] for own in learner.optimiser.state.values()]
        self.gradient = torch.cat(parts)

    @torch.no_grad()
    def _explore(self, learner: ReGenLearner, frames: Tensor, labels: Tensor, clips: Tensor) -> None:
        rewards = learner._rewards()
        started = time.perf_counter()
        visual = learner.captioner.visual(frames)
        found = [
            learner.captioner.generate(visual, own) for own in (Decoding("beam", learner.config.beams), Decoding())
        ]
        found_at = time.perf_counter()
        for captions in found:
            learner._judged(rewards, captions, labels, clips)
        self.exploring.append(time.perf_counter() - started)
        self.rewarding.append(time.perf_counter() - found_at)


def differences(quick: Way, plain: Way) -> tuple[float, float]:
    """The largest difference of a reward, and of the gradient in shares of its norm.

    Raises RuntimeError where the ways' captions are not the same.
    """
    for (own, _), (other, _) in zip(quick.noted, plain.noted, strict=True):
        if own != other:
            raise RuntimeError(f"the two ways' captions differ: {own} and {other}")
    rewards = max(
        float((own - other).abs().max()) for (_, own), (_, other) in zip(quick.noted, plain.noted, strict=True)
    )
    return rewards, float((quick.gradient - plain.gradient).norm() / plain.gradient.norm())


def noise(path: Path, clips: int, frames: int) -> EncodedFrames:
    """Clips of coloured noise, coarse, so that a frame is about as large as a real one."""
    rng = np.random.default_rng(0)
    with writing_frames(path, frames, _SIDE) as writer:
        for _ in range(clips):
            sample = []
            for _ in range(frames):
                small = Image.fromarray(rng.integers(256, size=(_SIDE // 8, _SIDE // 8, 3), dtype=np.uint8))
                content = BytesIO()
                small.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
                sample.append(content.getvalue())
            writer.add(sample)
    return EncodedFrames(path)


def decoded_here(path: Path) -> EncodedFrames:
    """A file's clips, which no process is started to decode: that is no part of a step."""
    return EncodedFrames.of_buffer(pa.memory_map(str(path)).read_buffer())


def made_task(frames: EncodedFrames) -> Task:
    return Task(SEEN, UNSEEN, frames, torch.arange(len(frames)) % len(SEEN), torch.eye(len(SEEN) + len(UNSEEN)))


def train_within(path: Path, values: Mapping[str, Any], allowed: int) -> None:
    """What a measured process does: an epoch of ReGen on one batch, and one on all clips.

    allowed: bytes that the second may take beyond what the process has after the first, whose libraries are then
    loaded and whose threads run; 0 for any number.
    """
    torch.set_num_threads(1)
    config, frames = method.configure(values), EncodedFrames(path)
    for task in (made_task(frames[: config.batch_size]), made_task(frames)):
        learner = method.learner(Member(task, config, 0), Workers(_CPU))
        if task.labels.shape[0] > config.batch_size and allowed:
            _hold_to(allowed)
        learner.train_epoch()


def _hold_to(allowed: int) -> None:
    """Refuse this process more anonymous memory than so many bytes beyond what it has."""
    status = Path("/proc/self/status").read_text()
    held = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + allowed, held + allowed))


def memory(home: Path, clips: int, models: Mapping[str, Any]) -> tuple[list[list[str]], str]:
    """Rows of MiB held, and a note. Raises RuntimeError where a tenth of the folder is not enough."""
    small = noise(home / "small.arrow", clips, 8)
    small[np.tile(np.arange(clips), 10)].write(home / "large.arrow")
    sizes = [(home / name).stat().st_size / 2**20 for name in ("small.arrow", "large.arrow")]
    values = {**models, "epochs": 1, "batch_size": 8, "beams": 1, "max_tokens": 4, "lambda_grammar": 0.0}
    held = [
        peak_mib(train_within, home / "small.arrow", values, 0),
        peak_mib(train_within, home / "large.arrow", values, int(sizes[1] * 2**20 / 10)),
    ]
    row = [f"MiB held at most, {10 * clips:,} clips", f"{clips:,} clips", *(f"{own:.0f}" for own in held)]
    row.append(f"{held[1] / held[0]:.2f}")
    note = (
        f"Memory: an epoch on {clips:,} and {10 * clips:,} clips of 8 frames ({sizes[0]:.0f} and {sizes[1]:.0f} MiB of "
        f"JPEG), a tiny captioner and CLIP, 8 clips a step; the worker with those that decode for it. On the larger "
        f"folder, whose frames would take {10 * clips * 8 * 3 * _SIDE**2 / 2**20:.0f} MiB, the epoch was held to "
        f"{sizes[1] / 10:.0f} MiB of anonymous memory beyond what the worker had after a step (RLIMIT_DATA)."
    )
    return [row], note


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2, help="of the epoch that is timed")
    parser.add_argument("--batch", type=int, default=2, help="clips a step")
    parser.add_argument("--frames", type=int, default=2, help="of a clip")
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each way, in turn; the median counts")
    parser.add_argument("--memory-clips", type=int, default=300, help="of the smaller folder; 0 leaves memory out")
    parser.add_argument("--clip", default="clip-vit-base-patch16", help="a size of random_models.SIZES")
    parser.add_argument("--captioner", default="git-base", help="likewise")
    parser.add_argument("--language-model", default="bert-base", help="likewise")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        models = {kind: getattr(asked, kind) for kind in ("captioner", "clip", "language_model")}
        values = {kind: save_random_model(size, home / size) for kind, size in models.items()}
        values |= {"epochs": 1, "batch_size": asked.batch, "beams": asked.beams, "max_tokens": asked.max_tokens}
        noise(home / "clips.arrow", asked.clips, asked.frames)
        task = made_task(decoded_here(home / "clips.arrow"))
        quick, plain = Way(plain=False), Way(plain=True)
        for _ in range(asked.rounds):
            for way in (quick, plain):
                way.round(task, values)
        of_rewards, of_gradient = differences(quick, plain)
        steps, captions = -(-asked.clips // asked.batch), asked.batch * (asked.beams + 1)
        table = [
            _row("RL steps a second", steps, plain.steps, quick.steps),
            _row("captions found and rewarded a second", captions, plain.exploring, quick.exploring),
            _row("of these, rewarded alone", captions, plain.rewarding, quick.rewarding),
        ]
        texts = [text for own, _ in quick.noted for text in own]
        notes = [
            f"{asked.captioner}, {asked.clip} and {asked.language_model} by their published shapes, random weights, "
            f"float32, one thread. Steps of {asked.batch} clips of {asked.frames} frames of {_SIDE} x {_SIDE}, "
            f"{asked.beams} beams and the greedy caption, {asked.max_tokens} tokens at most; epochs of {steps} steps; "
            f"median of {asked.rounds}. All weights of the captioner are trained.",
            f"Both ways found the same {len(texts)} captions an epoch, {len(set(texts))} of them different; their "
            f"rewards differ by {of_rewards:.1e} at most, the gradients by {of_gradient:.1e} of their norm.",
        ]
        if asked.memory_clips:
            tiny = {"captioner": save_random_model("git-tiny", home / "git-tiny")}
            tiny["clip"] = save_random_model("clip-tiny", home / "clip-tiny")
            rows, note = memory(home, asked.memory_clips, tiny)
            table, notes = table + rows, [*notes, note]
    title = "ReGen's steps against the plain way, and a worker's memory"
    keep("regen", title, ["", "baseline", "baseline's", "ReGen's", "ratio"], table, notes)


def _row(what: str, count: int, plain: list[float], quick: list[float]) -> list[str]:
    slow, fast = (count / statistics.median(seconds) for seconds in (plain, quick))
    return [what, "the plain way", f"{slow:.3f}", f"{fast:.3f}", f"{fast / slow:.1f}"]


if __name__ == "__main__":
    main()
