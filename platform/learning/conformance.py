"""What every method must keep, tried on a small made-up problem: what `python -m platform.check NAME` and tests run."""

import inspect
import math
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from platform.capabilities import model_for
from platform.errors import InputError
from platform.learning.made_up import made_up
from platform.method import Member, Method, MethodConfig, Model, Population, epochs_of, load_method
from platform.population.draws import generator
from platform.training.checkpoints import read_checkpoint, write_checkpoint
from platform.training.saved_models import load_model, save_model
from platform.workers import Workers
from platform.zeroshot.gate import Stacking
from platform.zeroshot.normaliser import Normaliser
from platform.zeroshot.task import Task, hold_out

ALONE = Workers(torch.device("cpu"))
_PATIENCE = 300  # seconds that two workers may take
_LEAST_SUM, _MOST_SUM = 1 - 1e-3, 1 + 1e-3  # of a sample's probabilities


@dataclass(frozen=True)
class Finding:
    """What a check found. said: what to do where it is broken, or why it was not tried where it is not offered."""

    check: str
    status: Literal["kept", "broken", "not offered"]
    said: str = ""


class _Broken(Exception):
    """A promise that is not kept; its message says what to do."""


class _NotOffered(Exception):
    """A promise that a method does not make; its message says by what."""


@dataclass(frozen=True)
class _Run:
    """Members after some epochs. states, losses: epoch by epoch, each member's."""

    population: Population
    members: Sequence[Member]
    states: Sequence[Sequence[Mapping[str, Tensor]]]
    losses: Sequence[Sequence[Mapping[str, float]]]

    @cached_property
    def models(self) -> Sequence[Model]:
        return self.population.models(range(len(self.members)))

    def after(self, place: int, epochs: int) -> dict[str, Tensor]:
        """A member's state after so many epochs, and the last one's losses as tensors, too."""
        told = self.losses[epochs - 1][place]
        return {**self.states[epochs - 1][place], **{f"loss {n}": torch.tensor(value) for n, value in told.items()}}


@dataclass(frozen=True)
class _Case:
    """A method, and the configurations with which it is tried: the first one's fields, and what others change of it."""

    name: str
    method: Method
    values: Mapping[str, Any]
    preset: str | None
    others: Sequence[Mapping[str, Any]] = ()
    _found: dict[Any, Any] = field(default_factory=dict, init=False)  # tasks and runs, each made once

    @cached_property
    def config(self) -> Any:
        return self.method.configure(self.values, self.preset)

    @property
    def epochs(self) -> int:
        return epochs_of(self.config)

    def member(self, place: int, seed: int | None = None, **fields: Any) -> Member:
        """One of the configurations by turns; every second one is on the other task."""
        own = [{}, *self.others][place % (1 + len(self.others))]
        config = self.method.configure({**self.values, **own, **fields}, self.preset)
        return Member(self._task(place % 2, config), config, place if seed is None else seed)

    @cached_property
    def members(self) -> list[Member]:
        """At least three, and one of each configuration."""
        return [self.member(place) for place in range(max(3, 1 + len(self.others)))]

    @property
    def each(self) -> list[Member]:
        """One of each configuration."""
        return self.members[: 1 + len(self.others)]

    def run(self, members: Sequence[Member], epochs: int, workers: Workers = ALONE) -> _Run:
        population, places, states, losses = self.method.population(members, workers), range(len(members)), [], []
        for _ in range(epochs):
            losses.append([dict(told) for told in population.train_epoch()])
            states.append(population.states(places))
        return _Run(population, members, states, losses)

    @cached_property
    def together(self) -> _Run:
        """All members, for all epochs."""
        return self.run(self.members, self.epochs)

    def alone(self, place: int) -> _Run:
        """The same of one member."""
        if place not in self._found:
            self._found[place] = self.run([self.members[place]], self.epochs)
        return self._found[place]

    def going_on(self, epochs: int) -> list[Member]:
        """All members with their states after so many epochs, read from disk."""
        states = self.together.states[epochs - 1]
        return [replace(m, state=_stored(state)) for m, state in zip(self.members, states, strict=True)]

    def models(self) -> Iterator[tuple[Model, Task]]:
        """Of all members, and their tasks."""
        return zip(self.together.models, (m.task for m in self.members), strict=True)

    def needs_training(self) -> None:
        if not isinstance(self.config, MethodConfig):
            raise _NotOffered("it is solved, not trained")

    def _task(self, which: int, config: Any) -> Task:
        """Two differ in their counts of samples, of seen and of unseen classes; features are normalised as configured.

        They bring all that a task may: logits, and features with frames left out.
        """
        kind = "none" if config.normalise == "auto" else config.normalise
        if (which, kind) not in self._found:
            parts = len(self.method.text_parts(self.config)) or 1
            features, side = self.method.learns_from[0], getattr(self.config, "side", 32)
            seed, unseen, samples = ((0, 3, 8), (1, 2, 7))[which]
            task = made_up(seed, unseen, samples, parts, features, side)
            draw = generator(seed, "what a task may bring")
            if features == "numbers":
                noise = 0.3 * torch.randn(task.features.shape, generator=draw)
                task = replace(task, masked=task.features + noise)
            task = replace(task, logits=torch.randn(len(task.labels), len(task.seen), generator=draw))
            if which:
                task, _ = hold_out(task, task.seen[-2:], 0.0, draw)
            normaliser = Normaliser.fit(kind, task.features)
            self._found[which, kind] = normaliser.apply(task, task.samples())[0]
        return self._found[which, kind]


def examine(
    name: str,
    values: Mapping[str, Any],
    preset: str | None = None,
    others: Sequence[Mapping[str, Any]] = (),
    checks: Sequence[Callable[[_Case], None]] | None = None,
) -> Iterator[Finding]:
    """Every promise of a method, one after the other.

    values: fields for a quick try; epochs, where absent, are 3, and batch_size 8. others: what further members of a
    population change of these fields. checks: some of CHECKS. Raises InputError where there is no such method or field.
    """
    method = load_method(name)
    quick = {"epochs": 3, "batch_size": 8} if issubclass(method.Config, MethodConfig) else {}
    case = _Case(name, method, {**quick, **values}, preset, others)
    if isinstance(case.config, MethodConfig) and case.epochs < 2:
        raise InputError(f"epochs={case.epochs}: a check of what is resumed takes at least 2")
    for check in CHECKS if checks is None else checks:
        said, status = "", "kept"
        try:
            check(case)
        except _Broken as broken:
            said, status = str(broken), "broken"
        except _NotOffered as absent:
            said, status = str(absent), "not offered"
        except InputError:
            raise
        except Exception as error:
            said, status = f"it raised {type(error).__name__}: {_line(error)}; --debug shows where", "broken"
        yield Finding(inspect.getdoc(check).splitlines()[0].rstrip("."), status, said)


def _describes_itself(case: _Case) -> None:
    """It has a citation, and every field of its Config a description."""
    fields = case.method.Config.model_fields
    if not case.method.citation.strip().startswith("@"):
        raise _Broken("`citation` is not BibTeX; give it the paper's entry, @inproceedings{…}")
    plain = [name for name, own in fields.items() if not own.description]
    if plain:
        raise _Broken(f"field `{plain[0]}` has no description; say what it is and where its value comes from")
    if strange := [name for name in case.method.pack_by if name not in {*fields, "batch_size"}]:
        raise _Broken(f"`pack_by` names `{strange[0]}`, which is no field; give it the fields that members must share")
    for preset in case.method.presets:
        try:
            case.method.configure({}, preset)
        except InputError as error:
            raise _Broken(f"preset `{preset}` is no configuration: {_line(error)}") from None


def _same_seed(case: _Case) -> None:
    """The same seed gives the same numbers."""
    again = case.run(case.members, case.epochs)
    for place, member in enumerate(case.members):
        if differing := _parted(again, place, case.together, place):
            raise _Broken(
                f"two trainings with one seed differ (`{differing}`); draw every random number from "
                "generator(seed, purpose, epoch)"
            )
        models, x = [run.models[place] for run in (case.together, again)], member.task.features
        if not torch.equal(*(model.unseen_scores(x) for model in models)):
            raise _Broken(
                "two models of one training differ; what a model draws must come from generator(seed, purpose)"
            )


def _other_seed(case: _Case) -> None:
    """Another seed gives other numbers."""
    case.needs_training()
    other = case.run([case.member(0, seed=100)], 1)
    if _same(other.states[0][0], case.alone(0).states[0][0]):
        raise _Broken("trainings with different seeds are the same; the start and the batches must depend on the seed")


def _resumes(case: _Case) -> None:
    """A training that is cut off after an epoch ends with the same numbers."""
    case.needs_training()
    for cut in range(1, case.epochs):
        members = case.going_on(cut)
        resumed = case.run(members, case.epochs - cut)
        for place, member in enumerate(members):
            if differing := _parted(resumed, place, case.together, place, later=cut):
                raise _Broken(
                    f"after epoch {cut} it goes on with other numbers (`{differing}`); `state` must return all that "
                    "later epochs depend on, their count included, and a member must start as its `state` says"
                )
            if differing := _differing(member.state, case.together.states[cut - 1][place]):
                raise _Broken(f"the state from which it goes on changes (`{differing}`); copy the tensors")


def _resumes_elsewhere(case: _Case) -> None:
    """A member goes on in other company as if left alone."""
    case.needs_training()
    for cut in range(1, case.epochs):
        _, *others = case.going_on(cut)
        resumed = case.run([case.members[0], *reversed(others)], case.epochs - cut)  # beside one that starts
        for at, (place, later) in enumerate([(0, 0), *((len(others) - m, cut) for m in range(len(others)))]):
            if differing := _parted(resumed, at, case.alone(place), 0, later, exact=False):
                raise _Broken(
                    f"in other company it ends with other numbers (`{differing}`); members must not see each other"
                )


def _equals_alone(case: _Case) -> None:
    """A member of a population equals itself alone."""
    for place, member in enumerate(case.members):
        alone, which = case.alone(place), f"member {place} of {len(case.members)}"
        if differing := _parted(case.together, place, alone, 0, exact=False):
            raise _Broken(f"{which} differs from itself alone (`{differing}`); members must not see each other")
        samples, pair = member.task.samples(), (case.together.models[place], alone.models[0])
        for sides in zip(*(model_for(model, samples).sides(samples.features) for model in pair), strict=True):
            if not torch.allclose(*sides, rtol=1e-2, atol=1e-2):  # what is fitted on top stops within a tolerance
                raise _Broken(f"the model of {which} scores otherwise than that of itself alone")


def _accelerated(case: _Case) -> None:
    """Gradients written by hand are those of the stated losses."""
    if "accelerate" not in case.method.Config.model_fields or getattr(case.method, "accelerated", None) is None:
        raise _NotOffered("it has no gradients written by hand")
    places = range(len(case.members))
    quick, stated = (case.run([case.member(p, accelerate=a) for p in places], case.epochs) for a in (True, False))
    for place in places:
        if differing := _parted(quick, place, stated, place, exact=False):
            raise _Broken(f"member {place} trains otherwise with accelerate=true (`{differing}`); mend its gradients")


def _model_stays(case: _Case) -> None:
    """A model and a state stay as they were when training goes on."""
    case.needs_training()
    run = case.run(case.each, 1)
    states = [_copied(state) for state in run.states[0]]
    before = [model.unseen_scores(m.task.features) for model, m in zip(run.models, case.each, strict=True)]
    run.population.train_epoch()
    for place, member in enumerate(case.each):
        if not torch.equal(run.models[place].unseen_scores(member.task.features), before[place]):
            raise _Broken("a model changes with later epochs; `model` must copy the weights")
        if not _same(run.states[0][place], states[place]):
            raise _Broken("a state changes with later epochs; `state` must copy the tensors")


def _log_probabilities(case: _Case) -> None:
    """Scores are log-probabilities."""
    for model, task in case.models():
        x, model = task.features, model_for(model, task.samples())
        for side, scores in (("unseen", model.unseen_scores(x)), ("seen", model.seen_scores(x))):
            classes = len(model.unseen if side == "unseen" else model.seen)
            if scores.shape != (len(x), classes):
                raise _Broken(f"`{side}_scores` returns shape {tuple(scores.shape)}, expected {(len(x), classes)}")
            if not _sums_to_one(scores):
                raise _Broken(
                    f"`{side}_scores` are no log-probabilities: a sample's must sum to one; end with log_softmax"
                )
        sides = model.sides(x)
        if not (_sums_to_one(torch.cat(sides, dim=1)) or all(map(_sums_to_one, sides))):
            raise _Broken("`sides` are no log-probabilities: each side's must sum to one, or both sides' together")


def _batches_of_any_size(case: _Case) -> None:
    """A sample's scores do not depend on the samples beside it."""
    for model, task in case.models():
        samples = task.samples()
        first = samples.where(torch.arange(len(samples.labels)) < 3)
        among_others, alone = (model_for(model, own).sides(own.features) for own in (samples, first))
        for scores, of_few in zip(among_others, alone, strict=True):
            if not torch.allclose(scores[:3], of_few, rtol=1e-3, atol=1e-4):
                raise _Broken(
                    "three samples score otherwise alone than among others; a model must be in evaluation mode"
                )


def _new_classes(case: _Case) -> None:
    """A trained model takes new classes."""
    for model, task in case.models():
        own, x, samples = task.semantics[len(task.seen) :], task.features, task.samples()
        model, names = model.joined_by(Stacking(0.1)), ["one", "another", "a third", "a fourth", "a fifth"]
        again, given = (model_for(m, samples) for m in (model.with_classes(model.unseen, own), model))
        if not torch.allclose(again.scores(x), given.scores(x), atol=1e-4):
            raise _Broken(
                "given its own unseen classes again, a model scores otherwise; name every draw by the seed alone"
            )
        seen = given.seen_scores(x)
        for count in (1, 5):
            other = model_for(model.with_classes(names[:count], task.semantics[:count].double()), samples)
            shapes = other.unseen_scores(x).shape[1], other.scores(x).shape[1]
            if other.unseen != tuple(names[:count]) or shapes != (count, len(task.seen) + count):
                raise _Broken("`with_classes` must return a model of the classes that it is given, as many as they are")
            if not torch.allclose(other.seen_scores(x), seen, atol=1e-5):
                raise _Broken("`with_classes` changes the scores of the seen classes")
        if len(model.unseen) != len(own):
            raise _Broken("`with_classes` changes the model itself; it must return another one")
        for wrong in (own[:1, :-1], torch.cat([own, own[:, :1]], dim=1)[:1], own[0]):
            try:
                model.with_classes(["one"], wrong)
            except InputError:
                continue
            raise _Broken("class text of another width is taken; `with_classes` must raise InputError")


def _saved(case: _Case) -> None:
    """A saved model is the same when it is loaded."""
    for model, task in case.models():
        with tempfile.TemporaryDirectory() as folder:
            save_model(case.name, model.joined_by(Stacking(0.5)), Path(folder) / "model", {})
            loaded, _ = load_model(Path(folder) / "model")
        if (loaded.seen, loaded.unseen) != (model.seen, model.unseen):
            raise _Broken(
                "a loaded model has other classes; `seen` and `unseen` are among the values that it is made from"
            )
        again = loaded.with_classes(["one", "another"], task.semantics[:2])
        renamed = model.with_classes(["one", "another"], task.semantics[:2])
        for one, same, which in ((model, loaded, "a loaded model's"), (renamed, again, "with other classes, its")):
            sides = (model_for(m, task.samples()).sides(task.features) for m in (one, same))
            for side, pair in zip(("seen", "unseen"), zip(*sides, strict=True), strict=True):
                if not torch.equal(*pair):
                    raise _Broken(f"{which} {side} scores differ; `state` must return all that scoring reads")


def _diverges_alone(case: _Case) -> None:
    """A member that diverges leaves the others alone."""
    case.needs_training()
    if "learning_rate" not in case.method.Config.model_fields:
        raise _NotOffered("no field `learning_rate` to make a member diverge with")
    count = len(case.members)
    wild = [case.member(place, seed=count + place, learning_rate=1e30) for place in range(1 + len(case.others))]
    beside, diverged = case.run([case.members[0], *wild, *case.members[1:]], case.epochs), []
    for place, member in enumerate(wild, start=1):
        finite = [_finite(losses[place]) for losses in beside.losses]
        if not finite[-1]:
            diverged.append(place)
        elif not beside.models[place].unseen_scores(member.task.features).isfinite().all():
            raise _Broken(
                "a member's scores are no longer finite, and its losses are; report the losses that were trained on"
            )
        if finite != sorted(finite, reverse=True):
            raise _Broken("a member that has diverged reports finite losses again; it must stay as it is")
    if not diverged:
        raise _NotOffered("a learning rate of 1e30 leaves it finite")
    for place in range(count):
        if differing := _parted(beside, place and place + len(wild), case.together, place, exact=False):
            raise _Broken(f"beside a member that diverged, another ends with other numbers (`{differing}`)")
    frozen = [replace(wild[place - 1], state=_stored(beside.states[-1][place])) for place in diverged]
    resumed = case.run([case.members[0], *frozen], 1)
    if any(map(_finite, resumed.losses[0][1:])):
        raise _Broken("a member that has diverged reports finite losses once it goes on; its `state` must say so")
    if differing := _parted(resumed, 0, case.alone(0), 0, exact=False):
        raise _Broken(f"beside a member that had diverged, another ends with other numbers (`{differing}`)")


def _sees_no_unseen(case: _Case) -> None:
    """Training does not depend on the unseen classes."""
    changed = []
    for member in case.members:
        semantics, seen = member.task.semantics.clone(), len(member.task.seen)
        semantics[seen:] = torch.randn(semantics[seen:].shape, generator=generator("other unseen classes"))
        names = tuple(f"another {name}" for name in member.task.unseen)
        changed.append(replace(member, task=replace(member.task, semantics=semantics, unseen=names)))
    other = case.run(changed, min(2, case.epochs))
    for place in range(len(changed)):
        if differing := _parted(other, place, case.together, place):
            raise _Broken(
                f"with other unseen classes, training differs (`{differing}`); train on the seen classes' text alone"
            )


def _two_workers(case: _Case) -> None:
    """Two data-parallel workers train together."""
    case.needs_training()
    kind = case.method.data_parallel
    if kind == "none":
        raise _NotOffered("`data_parallel` is none, and --workers 2 is refused")
    if case.config.batch_size % 2:
        raise _NotOffered(f"batch_size={case.config.batch_size} is not even")
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        given = (case.name, dict(case.values), case.preset, tuple(case.others), folder)
        processes = [context.Process(target=_work, args=(rank, *given), daemon=True) for rank in (0, 1)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(_PATIENCE)
        alive = [process for process in processes if process.is_alive()]
        for process in alive:
            process.kill()
        if alive:
            raise _Broken(f"two workers did not end within {_PATIENCE} s; each must call `average` as often")
        if any(process.exitcode for process in processes):
            raise _Broken("a worker ended with an error, which stands above")
        ends = [read_checkpoint(Path(folder) / f"{rank}.safetensors")[0] for rank in (0, 1)]
    if differing := _differing(*ends):
        raise _Broken(f"two workers end with different numbers (`{differing}`); average gradients over the workers")
    if kind == "equal" and (differing := _differing(ends[0], _end(case.together, len(case.each)), exact=False)):
        raise _Broken(
            f"two workers train another model than one (`{differing}`); each must take `workers.share`, "
            'losses be means over it, and gradients averaged; or say data_parallel = "shares"'
        )


CHECKS: tuple[Callable[[_Case], None], ...] = (
    _describes_itself,
    _same_seed,
    _other_seed,
    _resumes,
    _resumes_elsewhere,
    _equals_alone,
    _accelerated,
    _model_stays,
    _log_probabilities,
    _batches_of_any_size,
    _new_classes,
    _saved,
    _diverges_alone,
    _sees_no_unseen,
    _two_workers,
)


def _work(
    rank: int,
    name: str,
    values: Mapping[str, Any],
    preset: str | None,
    others: Sequence[Mapping[str, Any]],
    folder: str,
) -> None:
    """One of two workers, in a process of its own."""
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    case = _Case(name, load_method(name), values, preset, others)
    run = case.run(case.each, case.epochs, Workers(torch.device("cpu"), rank, 2))
    write_checkpoint(Path(folder) / f"{rank}.safetensors", _end(run, len(case.each)), {})
    torch.distributed.destroy_process_group()


def _end(run: _Run, members: int) -> dict[str, Tensor]:
    """The first members' states, and what the last epoch told."""
    last = len(run.states)
    return {f"{place}.{n}": t for place in range(members) for n, t in run.after(place, last).items()}


def _sums_to_one(scores: Tensor) -> bool:
    total = scores.double().exp().sum(dim=1)
    return bool(((total > _LEAST_SUM) & (total < _MOST_SUM)).all())


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def _stored(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As it comes back from disk."""
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder) / "state.safetensors", state, {})
        return read_checkpoint(Path(folder) / "state.safetensors")[0]


def _finite(losses: Mapping[str, float]) -> bool:
    return all(math.isfinite(value) for value in losses.values())


def _parted(run: _Run, place: int, other: _Run, of_other: int, later: int = 0, exact: bool = True) -> str:
    """What first differs between a member's epochs in two runs, as `_differing` says; empty where nothing does.

    later: epochs that it had behind it in `run`.
    """
    for epochs in range(1, 1 + len(run.states)):
        found = _differing(run.after(place, epochs), other.after(of_other, epochs + later), exact)
        if found:
            return found
    return ""


def _same(state: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return not _differing(state, other)


def _differing(state: Mapping[str, Tensor], other: Mapping[str, Tensor], exact: bool = True) -> str:
    """The name of a tensor that is not the same in both, or not nearly; empty where there is none."""
    if state.keys() != other.keys():
        return sorted(state.keys() ^ other.keys())[0]
    for name, tensor in state.items():
        near = {"rtol": 0.0, "atol": 0.0} if exact else {"rtol": 1e-3, "atol": 1e-4}
        if tensor.shape != other[name].shape or not torch.allclose(
            tensor.double(), other[name].double(), equal_nan=True, **near
        ):
            return name
    return ""


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
