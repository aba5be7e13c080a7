"""A whole search in one resumable folder: its stages, then the test of the best of all their trials.

FOLDER/
  search.json        what was asked for
  space.yaml         the space file as it was, or what the Config's fields say as one
  earlier.json       trials of an earlier search that the samplers learn from
  study.journal      Optuna's studies, one a stage
  trials/KEY/        each trial's outcomes, one a seed and split
  packs/NAME/        configurations that train side by side, and their checkpoint
  best/chosen.json   which trials are tested, the best first
  best/N/            the test of the N-th best configuration, with its models; best/SPLIT/N/ with --select per-split
  report.json        the results
"""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter
from ray.exceptions import RayError

from platform.errors import InputError, Unavailable
from platform.files import NotWritable, write_json
from platform.method import load_method
from platform.report.results_table import Tests, by_kind
from platform.report.selection import Select, best_folders, chosen_together
from platform.search.execution import Answer, Job, Resources, advised, execute
from platform.search.halving import Halving
from platform.search.progress import Row, Watch
from platform.search.ranking import Trials, equals, front, on_splits, ranked, row_of
from platform.search.sizing import pack_size
from platform.search.space import SearchSpace, Stage, read_space
from platform.search.stage import StageSource
from platform.search.study import Earlier, StageStudy
from platform.search.validation import Folds, folds_by_split, validated_on
from platform.setup import ProblemData
from platform.tracking.outcome import record_of
from platform.tracking.record import Tracker
from platform.training.protocols import ProtocolOptions
from platform.training.together import best_together, seeds_together
from platform.training.trainable import Experiment, Outcome, read_outcomes, write_ensembles, write_outcomes
from platform.zeroshot.problem import ProblemOptions

_LOSSES = 3  # lost workers before the test of the best is given up


class SearchOptions(BaseModel):
    """The options of a search: written to the folder before anything starts, and all that a resume needs.

    Fields with a default were not written by earlier versions, whose searches can still be resumed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    method: str
    problem: ProblemOptions
    protocol: ProtocolOptions
    base: dict[str, Any]  # fields from --set and --preset, in every trial; a stage may sample the preset's
    trials: list[int]  # one a stage
    sampler: str
    seed: int
    seeds: int  # of each trial
    splits: list[str]
    select: Select = "together"
    pack: int | None  # most trials of a pack; None: measured
    halving: Halving | None
    test_seeds: int
    ensemble: int  # most configurations of the ensemble that is tested
    checkpoint_seconds: float = 15.0
    cpus: float
    gpus: float | None
    device: str
    validation: dict[str, Folds] = {}  # numbers of classes in each fold, by split
    compared: dict[str, str] = {}  # tags that a search with --warm-start must share
    space: str = ""  # which space was chosen, and why


class Chosen(BaseModel):
    """The best trial of all stages. front: keys on the Pareto front, where several metrics are searched.

    validated_on: the note on classes and chance level beside validation's accuracies; equals: how many other trials
    validation cannot tell from the best; notes: warnings on the best one's numbers.
    """

    best: dict[str, Any] = {}
    best_key: str = ""
    validation: dict[str, float] = {}
    spread: dict[str, float] = {}
    leaders: list[Row] = []
    front: list[str] = []
    validated_on: str = ""
    equals: int = 0
    notes: list[str] = []


class Report(Chosen):
    """The results of a search. tests: kind of model to protocol to metric to one value for each seed and split.

    by_split: the choice for each split, with --select per-split; there is then none for all splits. selection: the
    warning beside tests of a configuration that was chosen on several splits.
    """

    by_split: dict[str, Chosen] = {}
    selection: str
    tests: dict[str, dict[str, dict[str, list[float]]]]
    trials: int
    failed: int
    stopped: int
    fields: list[str]


class _Choice(BaseModel):
    """What to test: keys of the best trials on some splits, the best first. folder: of their tests, under `best`."""

    folder: str
    splits: tuple[str, ...]
    keys: tuple[str, ...]


class Search:
    """A search and its folder."""

    def __init__(self, folder: Path) -> None:
        """Open a folder that `create` made. Raises InputError where there is none, or no method or data folder."""
        if not (folder / "search.json").exists():
            raise InputError(f"--resume {folder}: no search stands there (it has no search.json)")
        self.folder = folder
        self.options = SearchOptions.model_validate_json((folder / "search.json").read_bytes())
        self.method = load_method(self.options.method)
        space = read_space(folder / "space.yaml", self.method.Config)
        self.space = space.model_copy(update={"sampler": self.options.sampler})
        self.earlier = TypeAdapter(list[Earlier]).validate_json((folder / "earlier.json").read_bytes())
        self.data = ProblemData.of(self.options.problem, self.options.splits)

    @classmethod
    def create(cls, folder: Path, options: SearchOptions, space: str, earlier: Sequence[Earlier] = ()) -> "Search":
        """A new search. space: a space file's text; earlier: trials that its samplers learn from."""
        folder.mkdir(parents=True)
        (folder / "space.yaml").write_text(space)
        write_json(folder / "earlier.json", TypeAdapter(list[Earlier]).dump_python(list(earlier)))
        write_json(folder / "search.json", options.model_dump(mode="json"))
        return cls(folder)

    def run(self, tracker: Tracker, watch: Watch, resources: Resources, concurrency: int) -> Report:
        """Carry out what is not yet done, and write the report. concurrency: packs that train at a time.

        Raises InputError where the folder cannot be written, or no trial of a stage succeeds.
        """
        try:
            return self._run(tracker, watch, resources, concurrency)
        except OSError as error:  # of Optuna's journal
            raise NotWritable(self.folder, error) from error

    @cached_property
    def folds(self) -> dict[str, Folds]:
        """The numbers of classes in validation's folds, by split."""
        return self.options.validation or folds_by_split(self.data, self.options.protocol)

    @cached_property
    def selection(self) -> str:
        """The warning beside tests of a configuration chosen on several splits; empty where none is due."""
        together = self.options.select == "together"
        return chosen_together(self.data.dataset, self.data.splits) if together else ""

    def _run(self, tracker: Tracker, watch: Watch, resources: Resources, concurrency: int) -> Report:
        stages, kept = _Stages([]), {}
        for stage, trials in zip(self.space.stages, self.options.trials, strict=True):
            source = self._stage(stage, trials, kept, tracker, watch, resources, concurrency)
            stages.sources.append(source)
            watch.stage(stage.name, len(source.outcomes), trials, stages.fields(), stages.rows())
            source.take_up()
            if len(source.outcomes) < trials:
                execute(source, resources, concurrency, self.folder)
            if not ranked(source.trials(), self.space):
                reasons = {o.reason for several in source.outcomes.values() for o in several if o.reason}
                shown = "; ".join(sorted(reasons)[:2]) or "see the packs' folders"
                raise InputError(f"stage `{stage.name}`: all {trials} trials failed ({shown})")
            kept = stages.kept(self.space)
        choices = self._choices(stages, watch)
        tests = self._test(choices, stages.values(), tracker, watch, resources, concurrency)
        chosen = {choice.folder: self._chosen(choice, stages) for choice in choices}
        report = Report(
            **(chosen[""].model_dump() if "" in chosen else {}),
            by_split={} if "" in chosen else {choice.splits[0]: chosen[choice.folder] for choice in choices},
            selection=self.selection,
            tests=tests,
            trials=sum(len(source.outcomes) for source in stages.sources),
            failed=sum(source.count("failed") for source in stages.sources),
            stopped=sum(source.count("stopped") for source in stages.sources),
            fields=stages.fields(),
        )
        write_json(self.folder / "report.json", report.model_dump())
        for key in sorted({key for one in chosen.values() for key in one.front}):
            tracker.tag(key, {"pareto": "true"})
        tracker.close_orphans()
        tracker.finish("FINISHED", _means(tests), [self.folder / "report.json", self.folder / "space.yaml"])
        return report

    def _choices(self, stages: "_Stages", watch: Watch) -> list[_Choice]:
        """Chosen once: a resumed search keeps the choice, though its version may rank trials otherwise."""
        path = self.folder / "best" / "chosen.json"
        if not path.exists():
            trials = stages.trials()
            if (path.parent / "0").exists():
                best, trials = ranked(trials, self.space)[0], stages.sources[-1].trials()
                if best not in trials:
                    watch.said(
                        "an earlier version has chosen and tested the best of the last stage's trials alone; "
                        f"{best} is better: start the search anew to test it"
                    )
            choices = [
                _Choice(
                    folder=folder,
                    splits=splits,
                    keys=ranked(on_splits(trials, splits), self.space)[: self.options.ensemble],
                )
                for folder, splits in best_folders(self.options.select, self.options.splits).items()
            ]
            path.parent.mkdir(exist_ok=True)
            write_json(path, [choice.model_dump() for choice in choices])
        return TypeAdapter(list[_Choice]).validate_json(path.read_bytes())

    def _chosen(self, choice: _Choice, stages: "_Stages") -> Chosen:
        trials, values = on_splits(stages.trials(), choice.splits), stages.values()
        rows = {key: row_of(key, values[key], trials[key]) for key in ranked(trials, self.space)}
        best = rows[choice.keys[0]]
        return Chosen(
            best=self.method.configure(best.values).model_dump(),
            best_key=best.key,
            validation=dict(best.metrics),
            spread=dict(best.spread),
            leaders=list(rows.values()),
            front=sorted(front(trials, self.space)) if len(self.space.metric) > 1 else [],
            validated_on=validated_on({split: self.folds[split] for split in choice.splits}),
            equals=len(equals(best.key, trials, self.space)),
            notes=list(dict.fromkeys(note for outcome in trials[best.key] for note in outcome.notes)),
        )

    def experiment(
        self, configs: Mapping[str, Mapping[str, Any]], seeds: Sequence[int], test: bool, splits: Sequence[str] = ()
    ) -> Experiment:
        """configs: fields by key; splits: the search's by default."""
        return Experiment(
            method=self.options.method,
            problem=self.options.problem,
            protocol=self.options.protocol,
            configs=tuple(self.method.configure(values).model_dump() for values in configs.values()),
            keys=tuple(configs),
            seeds=tuple(seeds),
            splits=tuple(splits or self.options.splits),
            test=test,
            device=self.options.device,
            checkpoint_seconds=self.options.checkpoint_seconds,
        )

    def _stage(
        self,
        stage: Stage,
        trials: int,
        kept: Mapping[str, Any],
        tracker: Tracker,
        watch: Watch,
        resources: Resources,
        concurrency: int,
    ) -> StageSource:
        asked = self.options
        study = StageStudy(
            self.folder / "study.journal", self.space, stage, trials, {**asked.base, **kept}, asked.seed, self.earlier
        )
        seeds = range(asked.seed, asked.seed + asked.seeds)

        def experiment(configs: Mapping[str, Mapping[str, Any]]) -> Experiment:
            return self.experiment(configs, seeds, test=False)

        size = asked.pack or self._measured_size(
            stage, {**asked.base, **kept}, experiment, resources, concurrency, watch
        )
        return StageSource(
            self.folder, self.method, self.space, study, experiment, asked.halving, size, concurrency, tracker, watch
        )

    def _measured_size(
        self,
        stage: Stage,
        kept: Mapping[str, Any],
        experiment: Callable[[Mapping[str, Mapping[str, Any]]], Experiment],
        resources: Resources,
        concurrency: int,
        watch: Watch,
    ) -> int:
        """Measured once: a resumed search keeps the size. 1 where the measurement fails."""
        path = self.folder / "packs" / "size.json"
        if not path.exists():
            low = {name: dimension.ends()[0] for name, dimension in stage.sampled.items() if dimension.ends()}
            measured = experiment({"measured": {**stage.fixed, **kept, **low}})
            try:
                size = pack_size(measured, self.options.protocol.folds, resources, concurrency)
            except RayError as error:  # other configurations may still train
                if isinstance(error, Unavailable):
                    raise Unavailable(advised(error.cause)) from error
                reason = str(error).strip().splitlines()[-1]
                watch.said(f"how many trials a pack should hold could not be measured ({reason}); each trains alone")
                size = 1
            path.parent.mkdir(exist_ok=True)
            write_json(path, size)
        return TypeAdapter(int).validate_json(path.read_bytes())

    def _test(
        self,
        choices: Sequence[_Choice],
        values: Mapping[str, Mapping[str, Any]],
        tracker: Tracker,
        watch: Watch,
        resources: Resources,
        concurrency: int,
    ) -> Tests:
        """The best configurations' tests over seeds. values: of the trials, by key."""
        jobs = [self._jobs(choice, values) for choice in choices]
        every = [job for own in jobs for job in own]
        waiting = [job for job in every if not self._is_tested(job)]
        if waiting:
            watch.stage("test", len(every) - len(waiting), len(every), [])
            execute(_Tests(waiting, watch), resources, concurrency, self.folder)
        found = [outcome for own in jobs for outcome in self._tested(own, tracker)]
        return by_kind(found)

    def _jobs(self, choice: _Choice, values: Mapping[str, Mapping[str, Any]]) -> list[Job]:
        seeds = range(self.options.seed, self.options.seed + self.options.test_seeds)
        jobs = []
        for place, key in enumerate(choice.keys):
            folder = self.folder / "best" / choice.folder / str(place)
            name = "-".join(filter(None, ("best", choice.folder.replace(":", "-"), str(place))))
            jobs.append(
                Job(name, self.experiment({"best": values[key]}, seeds, test=True, splits=choice.splits), folder)
            )
        return jobs

    def _is_tested(self, job: Job) -> bool:
        """Whether its test is done. Raises InputError where the folder holds the test of another configuration."""
        outcomes, (asked,) = read_outcomes(job.folder), job.experiment.configs
        if outcomes and self.method.configure(outcomes[0].config) != self.method.configure(asked):
            raise InputError(
                f"{job.folder} holds the test of another configuration than {job.folder.parent / 'chosen.json'} names; "
                "start the search anew, perhaps with --warm-start"
            )
        return outcomes is not None

    def _tested(self, jobs: Sequence[Job], tracker: Tracker) -> list[Outcome]:
        """One choice's tests: the best configuration's single models, their ensemble, and that with the next best."""
        tested = [(job.folder, read_outcomes(job.folder)) for job in jobs]
        folder, outcomes = tested[0]
        failed = [o.reason for o in outcomes if o.status == "failed"]
        if len(failed) == len(outcomes):
            raise RuntimeError(f"{folder}: the test of the best configuration failed: {failed[0]}")
        together = seeds_together(jobs[0].experiment, outcomes, folder)
        if len(jobs) > 1:
            together += best_together(jobs[0].experiment, tested, self.space.leading, folder)
        write_ensembles(folder, together)
        outcomes += together
        for outcome in outcomes:
            several = len(self.options.splits) > 1
            name = f"best-{outcome.split}-{outcome.name}" if several else f"best-{outcome.name}"
            tracker.child(record_of(name, outcome, folder))
        return outcomes


@dataclass
class _Stages:
    """The stages that have begun. Trials of a preliminary stage are compared only among themselves."""

    sources: list[StageSource]

    def trials(self) -> Trials:
        return {key: outcomes for source in self._compared() for key, outcomes in source.trials().items()}

    def values(self) -> dict[str, Mapping[str, Any]]:
        """Their configurations' fields."""
        return {key: source.proposals[key].values for source in self._compared() for key in source.outcomes}

    def rows(self) -> list[Row]:
        return [row for source in self._compared() for row in source.rows()]

    def fields(self) -> list[str]:
        """The fields that the stages sample."""
        return list(dict.fromkeys(name for source in self._compared() for name in source.study.stage.sampled))

    def kept(self, space: SearchSpace) -> dict[str, Any]:
        """What the next stage starts from: the best trial's values of all sampled fields."""
        best = self.values()[ranked(self.trials(), space)[0]]
        sampled = (name for source in self.sources for name in source.study.stage.sampled)
        return {name: best[name] for name in sampled if name in best}

    def _compared(self) -> list[StageSource]:
        last = self.sources[-1].study.stage
        return [source for source in self.sources if source.study.stage.preliminary == last.preliminary]


class _Tests:
    """The final tests as a source of jobs, each tried again where its worker is lost."""

    halving = None

    def __init__(self, jobs: Sequence[Job], watch: Watch) -> None:
        self.waiting, self.watch = list(jobs), watch
        self.lost: Counter[str] = Counter()

    def next(self) -> Job | None:
        return self.waiting.pop(0) if self.waiting else None

    def exchange(self, job: Job, ended: Mapping[str, Any], waiting: Mapping[str, Any]) -> Answer:
        raise RuntimeError(f"{job.key}: a test asks nothing")

    def over(self, job: Job, outcomes: Sequence[Outcome] | None, error: str) -> None:
        if outcomes is not None:
            if read_outcomes(job.folder) is None:  # the worker does not share our file system
                write_outcomes(job.folder, outcomes)
            self.watch.tested(job.key)
            return
        self.lost[job.key] += 1
        if error or self.lost[job.key] >= _LOSSES:
            raise RuntimeError(f"{job.folder}: the test of the best failed: {error or 'its worker was lost'}")
        self.watch.said(f"the worker of {job.key} was lost; it goes on from its checkpoint")
        self.waiting.append(job)


def _means(tests: Tests) -> dict[str, float]:
    """For MLflow: `clean/zsl` of single models, `clean/ensemble of 3 seeds/zsl` of others."""
    found = {}
    for kind, protocols in tests.items():
        for protocol, metrics in protocols.items():
            for name, values in metrics.items():
                place = f"{protocol}/{name}" if kind == "single" else f"{protocol}/{kind}/{name}"
                found[place] = statistics.mean(values)
    return found
