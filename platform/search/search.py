"""A whole search in one folder: its stages, then the best configuration's test. Killed at any moment, it goes on.

FOLDER/
  search.json        what was asked for
  space.yaml         the space file as it was
  study.journal      Optuna's studies, one a stage
  trials/KEY/        each trial's checkpoints while it runs, and its outcomes
  best/              the best configuration's test, with its models
  report.json        the end
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from platform.errors import InputError
from platform.method import load_method
from platform.search.execution import Job, Resources, execute
from platform.search.progress import Watch
from platform.search.space import Stage, read_space
from platform.search.study import Proposal, StageStudy
from platform.tracking.outcome import record_of
from platform.tracking.record import Tracker
from platform.training.checkpoints import write_json
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import Experiment, Outcome, read_outcomes
from platform.zeroshot.problem import ProblemOptions


class SearchOptions(BaseModel):
    """What was asked for: written to the folder before anything starts, and all that a resume needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    method: str
    problem: ProblemOptions
    protocol: ProtocolOptions
    base: dict[str, Any]  # fields that --set and --preset gave, in every trial
    trials: list[int]  # one a stage
    sampler: str
    seed: int
    test_seeds: int
    cpus: float
    gpus: float | None
    device: str


class Report(BaseModel):
    """The end of a search. tests: protocol to metric to one value a seed."""

    best: dict[str, Any]
    best_key: str
    validation: dict[str, float]
    tests: dict[str, dict[str, list[float]]]
    trials: int
    failed: int
    leaders: list[tuple[str, dict[str, Any], dict[str, float]]]
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

    @classmethod
    def create(cls, folder: Path, options: SearchOptions, space_file: Path) -> "Search":
        folder.mkdir(parents=True)
        (folder / "space.yaml").write_bytes(space_file.read_bytes())
        write_json(folder / "search.json", options.model_dump(mode="json"))
        return cls(folder)

    def run(self, tracker: Tracker, watch: Watch, resources: Resources, concurrent: int) -> Report:
        """Carry out what is not yet done, and write the report."""
        kept: dict[str, Any] = {}
        leaders, failed, total = [], 0, 0
        for stage, trials in zip(self.space.stages, self.options.trials, strict=True):
            study = StageStudy(
                self.folder / "study.journal",
                self.space,
                stage,
                trials,
                {**self.options.base, **kept},
                self.options.seed,
            )
            source = _StageSource(self, stage, study, tracker, watch)
            watch.stage(stage.name, len(source.outcomes), trials, list(stage.sampled))
            if len(source.outcomes) < trials:
                execute(source, resources, concurrent, self.folder)
            best = study.best()
            if best is None:
                reasons = {o.reason for o in source.outcomes.values() if o.reason} or {"see the trials' folders"}
                raise InputError(f"stage `{stage.name}`: all {trials} trials failed ({'; '.join(sorted(reasons)[:2])})")
            kept |= {name: best.values[name] for name in stage.sampled if name in best.values}
            failed += sum(o.status == "failed" for o in source.outcomes.values())
            total += len(source.outcomes)
            leaders = source.leaders()
        tests = self._test(best, tracker, resources)
        report = Report(
            best=self.method.configure(best.values).model_dump(),
            best_key=best.key,
            validation=source.outcomes[best.key].validation,
            tests=tests,
            trials=total,
            failed=failed,
            leaders=leaders,
            fields=list(stage.sampled),
        )
        write_json(self.folder / "report.json", report.model_dump())
        tracker.close_orphans()
        means = {f"{p}/{name}": statistics.mean(v) for p, metrics in tests.items() for name, v in metrics.items()}
        tracker.finish("FINISHED", means, [self.folder / "report.json", self.folder / "space.yaml"])
        return report

    def experiment(self, values: Mapping[str, Any], seeds: Sequence[int], test: bool) -> Experiment:
        config = self.method.configure(values).model_dump()
        return Experiment(
            method=self.options.method,
            problem=self.options.problem,
            protocol=self.options.protocol,
            configs=(config,) * len(seeds),
            seeds=tuple(seeds),
            test=test,
            device=self.options.device,
        )

    def _test(self, best: Proposal, tracker: Tracker, resources: Resources) -> dict[str, dict[str, list[float]]]:
        seeds = range(self.options.seed, self.options.seed + self.options.test_seeds)
        job = Job("best", self.experiment(best.values, seeds, test=True), self.folder / "best")
        outcomes = read_outcomes(job.folder)
        if outcomes is None:
            source = _OneJob(job)
            execute(source, resources, 1, self.folder)
            outcomes = source.outcomes
        failed = ["its worker failed"] if outcomes is None else [o.reason for o in outcomes if o.status == "failed"]
        if failed:
            raise RuntimeError(f"{job.folder}: the test of the best configuration failed: {failed[0]}")
        for outcome in outcomes:
            tracker.child(record_of(f"best-seed-{outcome.seed}", outcome, job.folder))
        return {
            protocol: {name: [o.test[protocol][name] for o in outcomes] for name in outcomes[0].test[protocol]}
            for protocol in outcomes[0].test
        }


class _StageSource:
    """Hands out a stage's trials and takes their outcomes to Optuna and to MLflow, each once."""

    def __init__(self, search: Search, stage: Stage, study: StageStudy, tracker: Tracker, watch: Watch) -> None:
        self.search, self.stage, self.study, self.tracker, self.watch = search, stage, study, tracker, watch
        self.outcomes: dict[str, Outcome] = {}
        self.proposals: dict[str, Proposal] = {}
        recorded = tracker.child_keys()
        for proposal in study.told():  # of a killed search: told to Optuna, perhaps not yet to MLflow
            outcomes = read_outcomes(self._folder(proposal.key))
            self._keep(proposal, outcomes, known=proposal.key in recorded)

    def next(self) -> Job | None:
        while (proposal := self.study.next()) is not None:
            self.proposals[proposal.key] = proposal
            folder = self._folder(proposal.key)
            experiment = self.search.experiment(proposal.values, [self.search.options.seed], test=False)
            outcomes = read_outcomes(folder)
            if outcomes is None:
                return Job(proposal.key, experiment, folder)
            self._take(proposal, outcomes)  # it had ended when the driver was killed
        return None

    def ended(self, job: Job, outcomes: Sequence[Outcome] | None) -> None:
        if outcomes is not None and read_outcomes(job.folder) is None:  # a worker without our file system
            job.folder.mkdir(parents=True, exist_ok=True)
            write_json(job.folder / "outcomes.json", [o.model_dump() for o in outcomes])
        self._take(self.proposals[job.key], outcomes)

    def leaders(self) -> list[tuple[str, dict[str, Any], dict[str, float]]]:
        """Successful trials, the best first; of equal ones the first proposed, whichever ended first."""
        rows = [(k, self.proposals[k].values, o.validation) for k, o in sorted(self.outcomes.items()) if o.validation]
        metric, high = self.search.space.metric, self.search.space.mode == "max"
        return sorted(rows, key=lambda row: row[2][metric], reverse=high)

    def _take(self, proposal: Proposal, outcomes: Sequence[Outcome] | None) -> None:
        self._keep(proposal, outcomes, known=False)
        outcome = self.outcomes[proposal.key]
        value = outcome.validation.get(self.search.space.metric, math.nan)
        self.study.tell(proposal.number, value if math.isfinite(value) else None)
        self.watch.trial(proposal.key, proposal.values, outcome.validation or None)

    def _keep(self, proposal: Proposal, outcomes: Sequence[Outcome] | None, known: bool) -> None:
        lost = Outcome(config=proposal.values, seed=0, status="failed", reason="its worker failed again and again")
        self.proposals[proposal.key] = proposal
        self.outcomes[proposal.key] = outcomes[0] if outcomes else lost
        if not known:
            self.tracker.child(record_of(proposal.key, self.outcomes[proposal.key], None))

    def _folder(self, key: str) -> Path:
        return self.search.folder / "trials" / key


class _OneJob:
    """A source of one job."""

    def __init__(self, job: Job) -> None:
        self.waiting: list[Job] = [job]
        self.outcomes: Sequence[Outcome] | None = None

    def next(self) -> Job | None:
        return self.waiting.pop() if self.waiting else None

    def ended(self, job: Job, outcomes: Sequence[Outcome] | None) -> None:
        self.outcomes = outcomes
