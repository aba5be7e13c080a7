"""One stage of a search: hands out packs of trials, and passes each outcome to Optuna and MLflow once."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from platform.files import write_json
from platform.method import Method
from platform.search.execution import Answer, Job
from platform.search.halving import Halving
from platform.search.packs import Pack, Packs, halves
from platform.search.progress import Row, Watch
from platform.search.ranking import Trials, mean_and_spread, row_of, status_of
from platform.search.space import SearchSpace
from platform.search.study import Proposal, StageStudy
from platform.tracking.outcome import record_of_trial
from platform.tracking.record import Tracker
from platform.training.trainable import Experiment, Outcome, read_outcomes, write_outcomes

_DEATHS = 3  # lost workers after which a trial counts as failed
_MEMBERS_FILE = "members.json"
_INDEPENDENT = {"random", "qmc"}  # samplers whose proposals do not depend on results


class StageSource:
    """Hands out a stage's trials in packs (`platform.search.execution.Source`).

    FOLDER/trials/KEY/outcomes.json holds a trial's outcomes, FOLDER/packs/NAME/ a pack's members and checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        method: Method,
        space: SearchSpace,
        study: StageStudy,
        experiment: Callable[[Mapping[str, Mapping[str, Any]]], Experiment],
        halving: Halving | None,
        size: int,
        concurrency: int,
        tracker: Tracker,
        watch: Watch,
    ) -> None:
        """experiment: of configurations by key; size: most trials a pack; concurrency: packs that train at a time."""
        self.folder, self.method, self.space, self.study, self.experiment = folder, method, space, study, experiment
        self.halving, self.tracker, self.watch = halving, tracker, watch
        self.outcomes: dict[str, list[Outcome]] = {}
        self.proposals: dict[str, Proposal] = {}
        self.running: dict[str, Pack] = {}  # packs in training, by the name of their folder
        recorded = tracker.child_keys()
        for proposal in study.told():  # of an interrupted search: known to Optuna, perhaps not yet to MLflow
            outcomes = read_outcomes(folder / "trials" / proposal.key)
            self._keep(proposal, outcomes or [self._lost(proposal)], known=proposal.key in recorded)
        ahead = None if space.sampler in _INDEPENDENT else 4 * size
        self.packs = Packs(self._propose, lambda: study.left, self._group, size, concurrency, ahead)

    def next(self) -> Job | None:
        pack = self.packs.next()
        return None if pack is None else self._job(pack)

    def exchange(self, job: Job, ended: Mapping[str, list[Outcome]], waiting: Mapping[str, list[Outcome]]) -> Answer:
        pack = self.running[job.folder.name]
        stopped = self._stopped(waiting)
        over = {**ended, **{key: _stopped_early(waiting[key]) for key in stopped}}
        for key, outcomes in over.items():
            self._take(self.proposals[key], outcomes)
        joining = self.packs.joining(self._group(pack.members[0]), len(over))
        staying = [p for p in pack.members if p.key not in over]
        deaths = 0 if joining else pack.deaths  # those that join have not lost a worker yet
        self._set_members(replace(pack, members=staying + joining, deaths=deaths))
        return Answer(stopped, {p.key: p.values for p in joining})

    def over(self, job: Job, outcomes: Sequence[Outcome] | None, error: str) -> None:
        pack = self.running.pop(job.folder.name)
        if not pack.members:
            shutil.rmtree(job.folder, ignore_errors=True)
        elif error and len(pack.members) == 1:
            self._give_up(pack, error)
        elif not error and len(pack.members) == 1 and pack.deaths + 1 >= _DEATHS:
            self._give_up(pack, "its worker was lost again and again")
        else:
            self._give_back(pack, error)

    def count(self, status: str) -> int:
        """How many trials have this status."""
        return sum(status_of(outcomes) == status for outcomes in self.outcomes.values())

    def trials(self) -> Trials:
        """The trials' outcomes, in the order of their proposal."""
        keys = sorted(self.outcomes, key=lambda key: self.proposals[key].number)
        return {key: self.outcomes[key] for key in keys}

    def rows(self) -> list[Row]:
        """Its completed trials, as they are shown."""
        return [self._row(self.proposals[key]) for key in self.trials()]

    def _propose(self) -> Proposal | None:
        while (proposal := self.study.next()) is not None:
            self.proposals[proposal.key] = proposal
            outcomes = read_outcomes(self.folder / "trials" / proposal.key)
            if outcomes is None:
                return proposal
            self._take(proposal, outcomes)  # it had ended when the driver was killed
        return None

    def take_up(self) -> None:
        """Hand out the packs of a killed driver again, unchanged, before any other.

        They may have checkpoints. Outcomes of trials that had ended by then are read and reported.
        """
        cut_off = sorted((self.folder / "packs").glob(f"*/{_MEMBERS_FILE}"))
        unfinished: dict[str, Proposal] = {}
        for _ in range(len(self.study.unfinished) if cut_off else 0):
            proposal = self._propose()
            if proposal is not None:
                unfinished[proposal.key] = proposal
        for path in cut_off:
            keys = TypeAdapter(list[str]).validate_json(path.read_bytes())
            members = [unfinished.pop(key) for key in keys if key in unfinished]
            if members:
                self.packs.give_back(Pack(path.parent.name, members))
        for proposal in unfinished.values():
            self.packs.add(proposal)

    def _job(self, pack: Pack) -> Job:
        folder = self.folder / "packs" / pack.folder
        folder.mkdir(parents=True, exist_ok=True)
        self._set_members(pack)
        return Job(pack.folder, self.experiment({p.key: p.values for p in pack.members}), folder)

    def _set_members(self, pack: Pack) -> None:
        self.running[pack.folder] = pack
        write_json(self.folder / "packs" / pack.folder / _MEMBERS_FILE, [p.key for p in pack.members])

    def _give_back(self, pack: Pack, error: str) -> None:
        """Hand out the same members once more; then, since one of them may be the cause, in halves."""
        again = replace(pack, deaths=pack.deaths + 1)
        reason = f"failed ({error})" if error else "lost its worker"
        trials = f"its {len(pack.members)} trials go" if len(pack.members) > 1 else "its trial goes"
        self.watch.said(f"pack {pack.folder} {reason}; {trials} out again")
        if again.deaths == 1 and not error:
            self.packs.give_back(again)
            return
        first, *others = halves(pack.members)
        self.packs.give_back(replace(again, members=first))
        for other in others:
            folder = self.folder / "packs" / other[0].key
            folder.mkdir(exist_ok=True)
            for checkpoint in (self.folder / "packs" / pack.folder).glob("*.safetensors"):
                shutil.copy(checkpoint, folder)
            self.packs.give_back(replace(again, folder=folder.name, members=other))

    def _give_up(self, pack: Pack, reason: str) -> None:
        (proposal,) = pack.members
        self._take(proposal, [self._lost(proposal).model_copy(update={"reason": reason})])
        for checkpoint in (self.folder / "packs" / pack.folder).glob("*.safetensors"):
            checkpoint.unlink()

    def _stopped(self, waiting: Mapping[str, list[Outcome]]) -> list[str]:
        """Those that stop at their rung."""
        rungs: dict[int, list[str]] = {}
        for key, outcomes in waiting.items():
            reached = mean_and_spread(outcomes)[0].get(self.space.leading, math.nan)
            epochs = max(len(o.epochs) for o in outcomes)
            if math.isfinite(reached):
                self.study.rung(self.proposals[key].number, epochs, reached)
            rungs.setdefault(epochs, []).append(key)
        stopped = []
        for epochs, keys in rungs.items():
            known = self.study.at_rung(epochs)
            out = self.halving.stopped(known, self.space.mode == "max")
            stopped += [k for k in keys if self.proposals[k].number in out or self.proposals[k].number not in known]
        return stopped

    def _take(self, proposal: Proposal, outcomes: list[Outcome]) -> None:
        folder = self.folder / "trials" / proposal.key
        if read_outcomes(folder) is None:
            write_outcomes(folder, outcomes)
        self._keep(proposal, outcomes, known=False)
        row = self._row(proposal)
        values = [row.metrics.get(metric, math.nan) for metric in self.space.metric]
        sound = row.status != "failed" and all(map(math.isfinite, values))
        self.study.tell(proposal.number, values if sound else None, stopped=row.status == "stopped")
        self.watch.trial(row)

    def _keep(self, proposal: Proposal, outcomes: list[Outcome], known: bool) -> None:
        self.proposals[proposal.key], self.outcomes[proposal.key] = proposal, outcomes
        if not known:
            self.tracker.child(record_of_trial(proposal.key, outcomes, *mean_and_spread(outcomes)))

    def _row(self, proposal: Proposal) -> Row:
        return row_of(proposal.key, proposal.values, self.outcomes[proposal.key])

    def _group(self, proposal: Proposal) -> tuple[Any, ...]:
        config = self.method.configure(proposal.values)
        return tuple(getattr(config, name) for name in self.method.pack_by)

    def _lost(self, proposal: Proposal) -> Outcome:
        experiment = self.experiment({proposal.key: proposal.values})
        return Outcome(
            key=proposal.key,
            config=proposal.values,
            seed=experiment.seeds[0],
            split=(experiment.splits or (experiment.problem.split,))[0],
            status="failed",
        )


def _stopped_early(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [o if o.status == "failed" else o.model_copy(update={"status": "stopped"}) for o in outcomes]
