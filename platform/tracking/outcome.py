"""Outcomes as MLflow runs, for a search's trials and for plain training. Needs no Ray."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from platform.tracking.record import RunRecord
from platform.training.captions import CAPTIONS_FILE
from platform.training.trainable import Outcome

COUNTS = "counts."  # prefix of the tags with the numbers of classes and samples behind a run's accuracies


def record_of(key: str, outcome: Outcome, folder: Path | None) -> RunRecord:
    """An outcome as an MLflow run; every metric under its protocol's name. folder: of the models, if any."""
    metrics = {f"validation/{name}": value for name, value in outcome.validation.items()}
    for protocol, values in outcome.test.items():
        metrics |= {f"{protocol}/{name}": value for name, value in values.items()}
    metrics["seconds"] = outcome.seconds
    if outcome.epoch is not None:
        metrics["chosen_epoch"] = outcome.epoch
    epochs = [
        {"epoch": i, **{f"validation/epoch/{n}": v for n, v in epoch.items()}} for i, epoch in enumerate(outcome.epochs)
    ]
    for i, epoch in enumerate(outcome.test_epochs):
        epochs.append({"epoch": i, **{f"released/epoch/{n}": v for n, v in epoch.items()}})
    tags = {
        "outcome": outcome.status,
        "reason": outcome.reason,
        "ensemble": outcome.ensemble,
        "notes": "; ".join(outcome.notes),
    }
    tags |= {f"{COUNTS}{name}": str(count) for name, count in outcome.counts.items()}
    models = {protocol: folder / path for protocol, path in outcome.models.items()} if folder else {}
    captions = {f"captions-{protocol}": path / CAPTIONS_FILE for protocol, path in models.items()}
    return RunRecord(
        key=key,
        name=key,
        params={**outcome.config, "seed": outcome.seed, "split": outcome.split},
        epochs=epochs,
        metrics=metrics,
        status="FAILED" if outcome.status == "failed" else "FINISHED",
        tags={name: value for name, value in tags.items() if value},
        artifacts=list(models.values()),
        tables={name: path for name, path in captions.items() if path.exists()},
    )


def record_of_trial(
    key: str, outcomes: Sequence[Outcome], mean: Mapping[str, float], spread: Mapping[str, float]
) -> RunRecord:
    """A configuration's run: its mean and standard deviation over seeds and splits, and a run below it for each."""
    if len(outcomes) == 1:
        return record_of(key, outcomes[0], None)
    failed = [o for o in outcomes if o.status == "failed"]
    stopped = any(o.status == "stopped" for o in outcomes)
    tags = {"outcome": "failed" if failed else "stopped" if stopped else "finished"}
    if failed:
        tags["reason"] = f"{len(failed)} of {len(outcomes)} seeds and splits failed: {failed[0].reason}"
    metrics = {f"validation/{name}": value for name, value in mean.items()}
    metrics |= {f"validation/{name}_std": value for name, value in spread.items()}
    return RunRecord(
        key=key,
        name=key,
        params={**outcomes[0].config, "members": len(outcomes)},
        epochs=(),
        metrics={**metrics, "seconds": max(o.seconds for o in outcomes)},
        status="FAILED" if failed else "FINISHED",
        tags=tags,
        members=[record_of(f"{key}/{o.split}/seed-{o.seed}", o, None) for o in outcomes],
    )
