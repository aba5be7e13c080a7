"""One stage's Optuna study, in the search's own folder: what to try next, what is unfinished, what came out."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from platform.search.samplers import sampler_for
from platform.search.space import SearchSpace, Stage


@dataclass(frozen=True)
class Proposal:
    """A configuration to try. key: names the trial in the folder and in MLflow, the same after every resume."""

    key: str
    number: int
    values: dict[str, Any]


class StageStudy:
    """The study of one stage. Every trial is asked for once and told once, however often the search is killed."""

    def __init__(
        self, journal: Path, space: SearchSpace, stage: Stage, trials: int, kept: Mapping[str, Any], seed: int
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.stage, self.trials, self.kept, self.seed = space, stage, trials, kept, seed
        self.study = optuna.create_study(
            study_name=stage.name,
            storage=JournalStorage(JournalFileBackend(str(journal))),
            direction="maximize" if space.mode == "max" else "minimize",
            load_if_exists=True,
        )
        known = self.study.get_trials(deepcopy=False)
        self.unfinished = deque(t.number for t in known if t.state == TrialState.RUNNING)
        self.asked = len(known)

    def next(self) -> Proposal | None:
        """An unfinished trial of a killed search, else a new one, else None."""
        if self.unfinished:
            return self._proposal(self.unfinished.popleft())
        if self.asked >= self.trials:
            return None
        self.study.sampler = sampler_for(self.space.sampler, self.seed, self.stage.name, self.asked)
        number = self.study.ask().number
        self.asked += 1
        return self._proposal(number)

    def tell(self, number: int, value: float | None) -> None:
        """The metric of a trial, or None where it failed; a trial that was told before keeps its value."""
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        self.study.tell(number, value, state, skip_if_finished=True)

    def told(self) -> list[Proposal]:
        """The trials that were told, as they were proposed."""
        return [self._proposal(t.number) for t in self.study.get_trials(deepcopy=False) if t.state.is_finished()]

    def best(self) -> Proposal | None:
        """The best trial so far, or None where none has succeeded."""
        completed = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return self._proposal(self.study.best_trial.number) if completed else None

    def _proposal(self, number: int) -> Proposal:
        stored = self.study.get_trials(deepcopy=False)[number]
        values = stored.user_attrs.get("values")
        if values is None:  # new, or killed while it was sampled: fields that were drawn keep their values
            self.study.sampler = sampler_for(self.space.sampler, self.seed, self.stage.name, number)
            trial = optuna.Trial(self.study, stored._trial_id)
            values = self.stage.sample(trial, self.kept)
            trial.set_user_attr("values", values)
        return Proposal(f"{self.stage.name}-{number:04d}", number, values)
