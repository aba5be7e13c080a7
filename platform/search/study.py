"""One stage's Optuna study, in the search's folder: the next, the unfinished and the completed trials."""

import math
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from platform.search.samplers import sampler_for
from platform.search.space import SearchSpace, Stage

_EARLIER = "earlier"  # attribute of a trial from an earlier search: its name there
_POINT = "point"  # attribute of a trial that tries one of the stage's points: its index


@dataclass(frozen=True)
class Proposal:
    """A configuration to try. key: the trial's name in the folder and in MLflow, the same after a resume."""

    key: str
    number: int  # Optuna's
    values: dict[str, Any]


@dataclass(frozen=True)
class Earlier:
    """A trial of an earlier search: its configuration's fields, and its metrics."""

    name: str
    values: Mapping[str, Any]
    metrics: Mapping[str, float]


class StageStudy:
    """The study of one stage. Every trial is asked and told once, however often the search is interrupted."""

    def __init__(
        self,
        journal: Path,
        space: SearchSpace,
        stage: Stage,
        trials: int,
        kept: Mapping[str, Any],
        seed: int,
        earlier: Sequence[Earlier] = (),
    ) -> None:
        """kept: values from the stages before; earlier: trials to learn from, where they fit the stage."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.stage, self.trials, self.seed = space, stage, trials, seed
        _without_torn_line(journal)
        direction = "maximize" if space.mode == "max" else "minimize"
        self.study = optuna.create_study(
            study_name=stage.name,
            storage=JournalStorage(JournalFileBackend(str(journal))),
            directions=[direction] * len(space.metric),
            load_if_exists=True,
        )
        self._learn(earlier)
        placed = {t.user_attrs.get(_POINT) for t in self.study.get_trials(deepcopy=False)}
        for place, point in enumerate(stage.points):
            if place not in placed:
                self.study.enqueue_trial(point, user_attrs={_POINT: place})
        own = [t for t in self.study.get_trials(deepcopy=False) if _EARLIER not in t.user_attrs]
        asked = [t for t in own if t.state != TrialState.WAITING]
        self.numbers = [t.number for t in asked]  # of the trials, in the order in which they were asked
        # a resumed stage keeps the values that it began with, though another version would choose others
        begun = next((t.user_attrs["values"] for t in asked if "values" in t.user_attrs), {})
        self.kept = {name: value if name in stage.sampled else begun.get(name, value) for name, value in kept.items()}
        self.unfinished = deque(t.number for t in asked if t.state == TrialState.RUNNING)

    @property
    def left(self) -> int:
        """How many trials are still to be proposed."""
        return max(0, self.trials - len(self.numbers)) + len(self.unfinished)

    def next(self) -> Proposal | None:
        """An unfinished trial of an interrupted search, else a new one, else None."""
        if self.unfinished:
            return self._proposal(self.unfinished.popleft())
        if len(self.numbers) >= self.trials:
            return None
        self.study.sampler = sampler_for(self.space.sampler, self.seed, self.stage.name, len(self.numbers))
        self.numbers.append(self.study.ask().number)
        return self._proposal(self.numbers[-1])

    def rung(self, number: int, epochs: int, value: float) -> None:
        """Record a trial's value after so many epochs."""
        trial = self.study.get_trials(deepcopy=False)[number]
        if epochs not in trial.intermediate_values and not trial.state.is_finished():
            self.study._storage.set_trial_intermediate_value(trial._trial_id, epochs, value)

    def at_rung(self, epochs: int) -> dict[int, float]:
        """The values of all trials after so many epochs, by number."""
        trials = self.study.get_trials(deepcopy=False)
        return {t.number: t.intermediate_values[epochs] for t in trials if epochs in t.intermediate_values}

    def tell(self, number: int, values: Sequence[float] | None, stopped: bool = False) -> None:
        """Record a trial's metrics, or None where it failed; a trial that was told before keeps its values.

        stopped: at a rung, whose value is then the trial's.
        """
        state = TrialState.PRUNED if stopped else TrialState.FAIL if values is None else TrialState.COMPLETE
        reached = list(values) if state == TrialState.COMPLETE else None
        self.study.tell(number, reached, state, skip_if_finished=True)

    def told(self) -> list[Proposal]:
        """The trials that were told, as they were proposed."""
        trials = self.study.get_trials(deepcopy=False)
        return [self._proposal(n) for n in self.numbers if trials[n].state.is_finished()]

    def _learn(self, earlier: Sequence[Earlier]) -> None:
        known = {t.user_attrs.get(_EARLIER) for t in self.study.get_trials(deepcopy=False)}
        for trial in earlier:
            distributions = self.stage.distributions(trial.values)
            metrics = [trial.metrics.get(metric, math.nan) for metric in self.space.metric]
            if trial.name in known or distributions is None or not all(map(math.isfinite, metrics)):
                continue
            self.study.add_trial(
                optuna.trial.create_trial(
                    params={name: trial.values[name] for name in distributions},
                    distributions=distributions,
                    values=metrics,
                    user_attrs={_EARLIER: trial.name},
                )
            )

    def _proposal(self, number: int) -> Proposal:
        stored = self.study.get_trials(deepcopy=False)[number]
        values, place = stored.user_attrs.get("values"), self.numbers.index(number)
        if values is None:  # new, or interrupted while it was sampled: fields that were drawn keep their values
            self.study.sampler = sampler_for(self.space.sampler, self.seed, self.stage.name, place)
            trial = optuna.Trial(self.study, stored._trial_id)
            values = self.stage.sample(trial, self.kept)
            trial.set_user_attr("values", values)
        return Proposal(f"{self.stage.name}-{place:04d}", number, values)


def _without_torn_line(journal: Path) -> None:
    """Remove a last line that a kill or a full disk has truncated: Optuna would append to it."""
    if journal.exists() and (written := journal.read_bytes()) and not written.endswith(b"\n"):
        os.truncate(journal, written.rfind(b"\n") + 1)
