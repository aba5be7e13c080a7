"""A training's outcome in MLflow's terms: for a search's trials and for plain training, which needs no Ray."""

from pathlib import Path

from platform.tracking.record import RunRecord
from platform.training.trainable import Outcome


def record_of(key: str, outcome: Outcome, folder: Path | None) -> RunRecord:
    """An outcome as MLflow keeps it; every metric under its protocol's name. folder: where the models stand, if any."""
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
    return RunRecord(
        key=key,
        name=key,
        params={**outcome.config, "seed": outcome.seed, "split": outcome.split},
        epochs=epochs,
        metrics=metrics,
        status="FINISHED" if outcome.status == "finished" else "FAILED",
        tags={"reason": outcome.reason} if outcome.reason else {},
        artifacts=[folder / path for path in outcome.models.values()] if folder else (),
    )
