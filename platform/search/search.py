"""A whole search in one folder: its stages, then the best configuration's test. Killed at any moment, it goes on.

FOLDER/
  search.json        what was asked for
  space.yaml         the space file as it was
  earlier.json       trials of an earlier search that the samplers learn from
  study.journal      Optuna's studies, one a stage
  trials/KEY/        each trial's outcomes, one a seed and split
  packs/NAME/        what trains side by side: who, and their checkpoint
  best/N/            the test of the N-th best configuration, with its models
  report.json        the end
"""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter
from ray.exceptions import RayError

from platform.errors import InputError
from platform.method import load_method
from platform.report.tests import Tests, by_kind
from platform.search.execution import Answer, Job, Resources, execute
from platform.search.halving import Halving
from platform.search.progress import Row, Watch
from platform.search.sizing import pack_size
from platform.search.space import Stage, read_space
from platform.search.stage import StageSource
from platform.search.study import Earlier, StageStudy
from platform.tracking.outcome import record_of
from platform.tracking.record import Tracker
from platform.training.checkpoints import NotWritable, write_json
from platform.training.protocols import ProtocolOptions
from platform.training.together import best_together, seeds_together
from platform.training.trainable import Experiment, Outcome, read_outcomes, write_ensembles, write_outcomes
from platform.zeroshot.problem import ProblemOptions

_LOSSES = 3  # of the worker, before the test of the best is given up


class SearchOptions(BaseModel):
    """What was asked for: written to the folder before anything starts, and all that a resume needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    method: str
    problem: ProblemOptions
    protocol: ProtocolOptions
    base: dict[str, Any]  # fields that --set and --preset gave, in every trial; a stage may sample the preset's
    trials: list[int]  # one a stage
    sampler: str
    seed: int
    seeds: int  # of each trial
    splits: list[str]
    pack: int | None  # trials of a pack at most; None: as many as pay
    halving: Halving | None
    test_seeds: int
    ensemble: int  # of the best configurations, at most, that are tested together
    checkpoint_seconds: float = 15.0
    cpus: float
    gpus: float | None
    device: str


class Report(BaseModel):
    """The end of a search. tests: what was tested, to protocol to metric to one value a seed and split."""

    best: dict[str, Any]
    best_key: str
    validation: dict[str, float]
    spread: dict[str, float]
    tests: dict[str, dict[str, dict[str, list[float]]]]
    trials: int
    failed: int
    stopped: int
    leaders: list[Row]
    front: list[str]  # keys of the Pareto front, where several metrics are searched
    fields: list[str]


class Search:
    """A search and its folder."""

    def __init__(self, folder: Path) -> None:
        """Open a folder that `create` made. Raises InputError where there is none."""
        if not (folder / "search.json").exists():
            raise InputError(f"--resume {folder}: no search stands there (it has no search.json)")
        self.folder = folder
        self.options = SearchOptions.model_validate_json((folder / "search.json").read_bytes())
        self.method = load_method(self.options.method)
        space = read_space(folder / "space.yaml", self.method.Config)
        self.space = space.model_copy(update={"sampler": self.options.sampler})
        self.earlier = TypeAdapter(list[Earlier]).validate_json((folder / "earlier.json").read_bytes())

    @classmethod
    def create(
        cls, folder: Path, options: SearchOptions, space_file: Path, earlier: Sequence[Earlier] = ()
    ) -> "Search":
        """A new search; earlier: trials that its samplers learn from."""
        folder.mkdir(parents=True)
        (folder / "space.yaml").write_bytes(space_file.read_bytes())
        write_json(folder / "earlier.json", TypeAdapter(list[Earlier]).dump_python(list(earlier)))
        write_json(folder / "search.json", options.model_dump(mode="json"))
        return cls(folder)

    def run(self, tracker: Tracker, watch: Watch, resources: Resources, lanes: int) -> Report:
        """Carry out what is not yet done, and write the report. lanes: packs that train at a time.

        Raises InputError where the folder cannot be written, or no trial of a stage succeeds.
        """
        try:
            return self._run(tracker, watch, resources, lanes)
        except OSError as error:  # of Optuna's journal
            raise NotWritable(self.folder, error) from error

    def _run(self, tracker: Tracker, watch: Watch, resources: Resources, lanes: int) -> Report:
        kept: dict[str, Any] = {}
        failed = stopped = total = 0
        for stage, trials in zip(self.space.stages, self.options.trials, strict=True):
            source = self._stage(stage, trials, kept, tracker, watch, resources, lanes)
            watch.stage(stage.name, len(source.outcomes), trials, list(stage.sampled))
            source.take_up()
            if len(source.outcomes) < trials:
                execute(source, resources, lanes, self.folder)
            leaders = source.leaders()
            if not leaders:
                reasons = {o.reason for several in source.outcomes.values() for o in several if o.reason}
                shown = "; ".join(sorted(reasons)[:2]) or "see the packs' folders"
                raise InputError(f"stage `{stage.name}`: all {trials} trials failed ({shown})")
            front = {proposal.key for proposal in source.study.front()}
            best = next(row for row in leaders if row.key in front)
            kept |= {name: best.values[name] for name in stage.sampled if name in best.values}
            failed, stopped = failed + source.count("failed"), stopped + source.count("stopped")
            total += len(source.outcomes)
        ranked = [best, *(row for row in leaders if row.key != best.key)]
        values = [row.values for row in ranked[: self.options.ensemble]]
        tests = self._test(values, tracker, watch, resources, lanes)
        several = len(self.space.metric) > 1
        report = Report(
            best=self.method.configure(best.values).model_dump(),
            best_key=best.key,
            validation=dict(best.metrics),
            spread=dict(best.spread),
            tests=tests,
            trials=total,
            failed=failed,
            stopped=stopped,
            leaders=leaders,
            front=sorted(front) if several else [],
            fields=list(stage.sampled),
        )
        write_json(self.folder / "report.json", report.model_dump())
        for key in report.front:
            tracker.tag(key, {"pareto": "true"})
        tracker.close_orphans()
        tracker.finish("FINISHED", _means(tests), [self.folder / "report.json", self.folder / "space.yaml"])
        return report

    def experiment(self, configs: Mapping[str, Mapping[str, Any]], seeds: Sequence[int], test: bool) -> Experiment:
        """configs: fields by key."""
        return Experiment(
            method=self.options.method,
            problem=self.options.problem,
            protocol=self.options.protocol,
            configs=tuple(self.method.configure(values).model_dump() for values in configs.values()),
            keys=tuple(configs),
            seeds=tuple(seeds),
            splits=tuple(self.options.splits),
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
        lanes: int,
    ) -> StageSource:
        asked = self.options
        study = StageStudy(
            self.folder / "study.journal", self.space, stage, trials, {**asked.base, **kept}, asked.seed, self.earlier
        )
        seeds = range(asked.seed, asked.seed + asked.seeds)

        def experiment(configs: Mapping[str, Mapping[str, Any]]) -> Experiment:
            return self.experiment(configs, seeds, test=False)

        size = asked.pack or self._measured_size(stage, {**asked.base, **kept}, experiment, resources, lanes, watch)
        return StageSource(
            self.folder, self.method, self.space, study, experiment, asked.halving, size, lanes, tracker, watch
        )

    def _measured_size(
        self,
        stage: Stage,
        kept: Mapping[str, Any],
        experiment: Callable[[Mapping[str, Mapping[str, Any]]], Experiment],
        resources: Resources,
        lanes: int,
        watch: Watch,
    ) -> int:
        """Once for a search: a resumed one goes on with the same size. 1 where the configuration measured fails."""
        path = self.folder / "packs" / "size.json"
        if not path.exists():
            low = {name: dimension.ends()[0] for name, dimension in stage.sampled.items() if dimension.ends()}
            measured = experiment({"measured": {**stage.fixed, **kept, **low}})
            try:
                size = pack_size(measured, self.options.protocol.folds, resources, lanes)
            except RayError as error:  # no reason to end before others have been tried
                reason = str(error).strip().splitlines()[-1]
                watch.said(f"how many trials a pack should hold could not be measured ({reason}); each trains alone")
                size = 1
            path.parent.mkdir(exist_ok=True)
            write_json(path, size)
        return TypeAdapter(int).validate_json(path.read_bytes())

    def _test(
        self,
        values: Sequence[Mapping[str, Any]],
        tracker: Tracker,
        watch: Watch,
        resources: Resources,
        lanes: int,
    ) -> Tests:
        """The best configuration's test over seeds, as single models and together; and together with the next best."""
        seeds = range(self.options.seed, self.options.seed + self.options.test_seeds)
        jobs = []
        for place, own in enumerate(values):
            folder = self.folder / "best" / str(place)
            jobs.append(Job(f"best-{place}", self.experiment({"best": own}, seeds, test=True), folder))
        waiting = [job for job in jobs if read_outcomes(job.folder) is None]
        if waiting:
            watch.stage("test", len(jobs) - len(waiting), len(jobs), [])
            execute(_Tests(waiting, watch), resources, lanes, self.folder)
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
        several = len({o.split for o in outcomes}) > 1
        for outcome in outcomes:
            name = f"best-{outcome.split}-{outcome.name}" if several else f"best-{outcome.name}"
            tracker.child(record_of(name, outcome, folder))
        return by_kind(outcomes)


class _Tests:
    """A source of jobs that ask nothing, each tried again where its worker is lost."""

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
            if read_outcomes(job.folder) is None:  # a worker without our file system
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
