"""What every method must keep, tried on a small made-up problem: what `python -m platform.check NAME` and tests run."""

import inspect
import math
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from platform.errors import InputError
from platform.learning.made_up import made_up
from platform.method import Member, Method, MethodConfig, Model, Population, epochs_of, load_method
from platform.population.draws import generator
from platform.training.checkpoints import read_checkpoint, write_checkpoint
from platform.training.saved_models import load_model, save_model
from platform.workers import Workers
from platform.zeroshot.task import Task

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
class _Case:
    """A method, and the configuration with which it is tried."""

    name: str
    method: Method
    values: Mapping[str, Any]
    preset: str | None

    @cached_property
    def config(self) -> Any:
        return self.method.configure(self.values, self.preset)

    @cached_property
    def tasks(self) -> tuple[Task, Task]:
        """Two tasks that differ in their counts of samples and of unseen classes."""
        parts = len(self.method.text_parts(self.config)) or 1
        pixels, side = "pixels" in self.method.learns_from, getattr(self.config, "side", 32)
        return tuple(made_up(seed, unseen, samples, parts, side if pixels else 0)
                     for seed, unseen, samples in ((0, 3, 8), (1, 2, 6)))  # fmt: skip

    @property
    def epochs(self) -> int:
        return epochs_of(self.config)

    def member(self, seed: int, **fields: Any) -> Member:
        """Every second one on the other task."""
        return Member(self.tasks[seed % 2], self.method.configure({**self.values, **fields}, self.preset), seed)

    def trained(
        self, members: Sequence[Member], epochs: int, workers: Workers = ALONE
    ) -> tuple[Population, list[Sequence[Mapping[str, float]]]]:
        population = self.method.population(members, workers)
        return population, [population.train_epoch() for _ in range(epochs)]

    def needs_training(self) -> None:
        if not isinstance(self.config, MethodConfig):
            raise _NotOffered("it is solved, not trained")


def examine(name: str, values: Mapping[str, Any], preset: str | None = None) -> Iterator[Finding]:
    """Every promise of a method, one after the other.

    values: fields for a quick try; epochs, where absent, are 3, and batch_size 8. Raises InputError where there is no
    such method or field.
    """
    method = load_method(name)
    quick = {"epochs": 3, "batch_size": 8} if issubclass(method.Config, MethodConfig) else {}
    case = _Case(name, method, {**quick, **values}, preset)
    if isinstance(case.config, MethodConfig) and case.epochs < 2:
        raise InputError(f"epochs={case.epochs}: a check of what is resumed takes at least 2")
    for check in CHECKS:
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
    if not case.method.citation.strip().startswith("@"):
        raise _Broken("`citation` is not BibTeX; give it the paper's entry, @inproceedings{…}")
    plain = [name for name, field in case.method.Config.model_fields.items() if not field.description]
    if plain:
        raise _Broken(f"field `{plain[0]}` has no description; say what it is and where its value comes from")


def _same_seed(case: _Case) -> None:
    """The same seed gives the same numbers."""
    (first, told), (again, told_again) = (case.trained([case.member(0)], case.epochs) for _ in range(2))
    if told != told_again or not _same(first.states([0])[0], again.states([0])[0]):
        raise _Broken(
            "two trainings with one seed differ; draw every random number from generator(seed, purpose, epoch)"
        )
    x = case.tasks[0].features
    if not torch.equal(first.models([0])[0].unseen_scores(x), again.models([0])[0].unseen_scores(x)):
        raise _Broken("two models of one training differ; what a model draws must come from generator(seed, purpose)")


def _other_seed(case: _Case) -> None:
    """Another seed gives other numbers."""
    case.needs_training()
    states = [case.trained([case.member(seed)], 1)[0].states([0])[0] for seed in (0, 2)]
    if _same(*states):
        raise _Broken("trainings with different seeds are the same; the start and the batches must depend on the seed")


def _resumes(case: _Case) -> None:
    """A training that is cut off after an epoch ends with the same numbers."""
    case.needs_training()
    members = [case.member(0), case.member(1)]
    whole, _ = case.trained(members, case.epochs)
    for cut in range(1, case.epochs):
        begun, _ = case.trained(members, cut)
        going_on = [replace(m, state=_copied(s)) for m, s in zip(members, begun.states([0, 1]), strict=True)]
        resumed, _ = case.trained(going_on, case.epochs - cut)
        for state, expected in zip(resumed.states([0, 1]), whole.states([0, 1]), strict=True):
            if differing := _differing(state, expected):
                raise _Broken(
                    f"after epoch {cut} it goes on with other numbers (`{differing}`); `state` must return all that "
                    "later epochs depend on, their count included, and a member must start as its `state` says"
                )


def _resumes_elsewhere(case: _Case) -> None:
    """A member goes on in other company as if left alone."""
    case.needs_training()
    own, other = case.member(0), case.member(1)
    alone, _ = case.trained([own], case.epochs)
    begun, _ = case.trained([other, own], 1)
    members = [case.member(3), replace(own, state=_copied(begun.states([1])[0]))]
    resumed, _ = case.trained(members, case.epochs - 1)
    if differing := _differing(resumed.states([1])[0], alone.states([0])[0], exact=False):
        raise _Broken(f"in other company it ends with other numbers (`{differing}`); members must not see each other")


def _equals_alone(case: _Case) -> None:
    """A member of a population equals itself alone."""
    members = [case.member(seed) for seed in (0, 1, 2)]
    together, _ = case.trained(members, case.epochs)
    for place, member in enumerate(members):
        alone, _ = case.trained([member], case.epochs)
        if differing := _differing(together.states([place])[0], alone.states([0])[0], exact=False):
            raise _Broken(
                f"member {place} of three differs from itself alone (`{differing}`); members must not see each other"
            )
        x = member.task.features
        pair = [population.models([at])[0].unseen_scores(x) for population, at in ((together, place), (alone, 0))]
        if not torch.allclose(*pair, rtol=1e-2, atol=1e-2):
            raise _Broken(f"the model of member {place} of three scores otherwise than that of itself alone")


def _accelerated(case: _Case) -> None:
    """Gradients written by hand are those of the stated losses."""
    if "accelerate" not in case.method.Config.model_fields or getattr(case.method, "accelerated", None) is None:
        raise _NotOffered("it has no gradients written by hand")
    members = [[case.member(seed, accelerate=quick) for seed in (0, 1)] for quick in (True, False)]
    quick, stated = (case.trained(several, case.epochs)[0].states([0, 1]) for several in members)
    for place, (state, expected) in enumerate(zip(quick, stated, strict=True)):
        if differing := _differing(state, expected, exact=False):
            raise _Broken(f"member {place} trains otherwise with accelerate=true (`{differing}`); mend its gradients")


def _model_stays(case: _Case) -> None:
    """A model and a state stay as they were when training goes on."""
    case.needs_training()
    population, _ = case.trained([case.member(0)], 1)
    (model,), (state,), x = population.models([0]), population.states([0]), case.tasks[0].features
    before, copied = model.unseen_scores(x), _copied(state)
    population.train_epoch()
    if not torch.equal(model.unseen_scores(x), before):
        raise _Broken("a model changes with later epochs; `model` must copy the weights")
    if not _same(state, copied):
        raise _Broken("a state changes with later epochs; `state` must copy the tensors")


def _log_probabilities(case: _Case) -> None:
    """Scores are log-probabilities."""
    model, x = _model(case), case.tasks[0].features
    logits = torch.zeros(len(x), len(model.seen))
    for side, scores in (("unseen", model.unseen_scores(x)), ("seen", model.seen_scores(x, logits))):
        classes = len(model.unseen if side == "unseen" else model.seen)
        if scores.shape != (len(x), classes):
            raise _Broken(f"`{side}_scores` returns shape {tuple(scores.shape)}, expected {(len(x), classes)}")
        if not _sums_to_one(scores):
            raise _Broken(f"`{side}_scores` are no log-probabilities: a sample's must sum to one; end with log_softmax")
    seen, unseen = model.sides(x, logits)
    if not (_sums_to_one(torch.cat([seen, unseen], dim=1)) or (_sums_to_one(seen) and _sums_to_one(unseen))):
        raise _Broken("`sides` are no log-probabilities: each side's must sum to one, or both sides' together")


def _batches_of_any_size(case: _Case) -> None:
    """A sample's scores do not depend on the samples beside it."""
    model, x = _model(case), case.tasks[0].features
    if not torch.allclose(model.unseen_scores(x)[:3], model.unseen_scores(x[:3].clone()), rtol=1e-3, atol=1e-4):
        raise _Broken("three samples score otherwise alone than among others; a model must be in evaluation mode")


def _new_classes(case: _Case) -> None:
    """A trained model takes new classes."""
    model, task = _model(case), case.tasks[0]
    own = task.semantics[len(task.seen) :]
    x, names = task.features, ["one", "another", "a third", "a fourth", "a fifth"]
    if not torch.allclose(model.with_classes(model.unseen, own).unseen_scores(x), model.unseen_scores(x), atol=1e-4):
        raise _Broken("given its own unseen classes again, a model scores otherwise; name every draw by the seed alone")
    other = model.with_classes(names, task.semantics[torch.arange(5)])
    if other.unseen != tuple(names) or other.unseen_scores(x).shape != (len(x), 5):
        raise _Broken("`with_classes` must return a model of the classes that it is given, as many as they are")
    if len(model.unseen) != len(own):
        raise _Broken("`with_classes` changes the model itself; it must return another one")
    try:
        model.with_classes(["one"], own[:1, :-1])
    except InputError:
        return
    raise _Broken("class text of another width is taken; `with_classes` must raise InputError")


def _saved(case: _Case) -> None:
    """A saved model is the same when it is loaded."""
    model, x = _model(case), case.tasks[0].features
    with tempfile.TemporaryDirectory() as folder:
        save_model(case.name, model, Path(folder) / "model", {})
        loaded, _ = load_model(Path(folder) / "model")
    if (loaded.seen, loaded.unseen) != (model.seen, model.unseen):
        raise _Broken("a loaded model has other classes; `seen` and `unseen` are among the values that it is made from")
    logits = torch.zeros(len(x), len(model.seen))
    for name, pair in (("unseen", [m.unseen_scores(x) for m in (model, loaded)]),
                       ("seen", [m.seen_scores(x, logits) for m in (model, loaded)])):  # fmt: skip
        if not torch.equal(*pair):
            raise _Broken(f"a loaded model's {name} scores differ; `state` must return all that scoring reads")


def _diverges_alone(case: _Case) -> None:
    """A member that diverges leaves the others alone."""
    case.needs_training()
    if "learning_rate" not in case.method.Config.model_fields:
        raise _NotOffered("no field `learning_rate` to make a member diverge with")
    sound = [case.member(0), case.member(2)]
    without, _ = case.trained(sound, case.epochs)
    beside, told = case.trained([sound[0], case.member(1, learning_rate=1e30), sound[1]], case.epochs)
    if all(math.isfinite(value) for value in told[-1][1].values()):
        if beside.models([1])[0].unseen_scores(case.tasks[1].features).isfinite().all():
            raise _NotOffered("a learning rate of 1e30 leaves it finite")
        raise _Broken(
            "a member's scores are no longer finite, and its losses are; report the losses that were trained on"
        )
    for place, expected in ((0, 0), (2, 1)):
        if differing := _differing(beside.states([place])[0], without.states([expected])[0], exact=False):
            raise _Broken(f"beside a member that diverged, another ends with other numbers (`{differing}`)")
    first = next(i for i, losses in enumerate(told) if not all(map(math.isfinite, losses[1].values())))
    if any(all(map(math.isfinite, losses[1].values())) for losses in told[first:]):
        raise _Broken("a member that has diverged reports finite losses again; it must stay as it is")


def _sees_no_unseen(case: _Case) -> None:
    """Training does not depend on the unseen classes."""
    member = case.member(0)
    semantics = member.task.semantics.clone()
    unseen = semantics[len(member.task.seen) :]
    unseen.copy_(torch.randn(unseen.shape, generator=generator("other unseen classes")))
    names = tuple(f"another {name}" for name in member.task.unseen)
    other = replace(member, task=replace(member.task, semantics=semantics, unseen=names))
    states = [case.trained([one], min(2, case.epochs))[0].states([0])[0] for one in (member, other)]
    if differing := _differing(*states):
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
        given = (case.name, dict(case.values), case.preset, folder)
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
        states = [read_checkpoint(Path(folder) / f"{rank}.safetensors")[0] for rank in (0, 1)]
    if differing := _differing(*states):
        raise _Broken(f"two workers end with different numbers (`{differing}`); average gradients over the workers")
    if kind == "equal":
        alone, _ = case.trained([case.member(0)], case.epochs)
        if differing := _differing(states[0], alone.states([0])[0], exact=False):
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


def _work(rank: int, name: str, values: Mapping[str, Any], preset: str | None, folder: str) -> None:
    """One of two workers, in a process of its own."""
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    case = _Case(name, load_method(name), values, preset)
    population, _ = case.trained([case.member(0)], case.epochs, Workers(torch.device("cpu"), rank, 2))
    write_checkpoint(Path(folder) / f"{rank}.safetensors", population.states([0])[0], {})
    torch.distributed.destroy_process_group()


def _model(case: _Case) -> Model:
    return case.trained([case.member(0)], case.epochs)[0].models([0])[0]


def _sums_to_one(scores: Tensor) -> bool:
    total = scores.double().exp().sum(dim=1)
    return bool(((total > _LEAST_SUM) & (total < _MOST_SUM)).all())


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def _same(state: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return not _differing(state, other)


def _differing(state: Mapping[str, Tensor], other: Mapping[str, Tensor], exact: bool = True) -> str:
    """The name of a tensor that is not the same in both, or not nearly; empty where there is none."""
    if state.keys() != other.keys():
        return sorted(state.keys() ^ other.keys())[0]
    for name, tensor in state.items():
        near = {"rtol": 0.0, "atol": 0.0} if exact else {"rtol": 1e-2, "atol": 1e-3}
        if tensor.shape != other[name].shape or not torch.allclose(
            tensor.double(), other[name].double(), equal_nan=True, **near
        ):
            return name
    return ""


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
