"""Results that no model was trained for."""

from platform.report.data_identity import Data
from platform.report.results import Result

METRICS = ("zsl", "seen", "unseen", "harmonic_mean")


def result(method, value, seed=0, split="ru5", protocol="clean", **others):
    """A test whose accuracies are all `value`, over samples half of it."""
    data = {"name": "clips", "features": "shiftgcn", "text": "minilm, name"} | others.pop("data", {})
    metrics = dict.fromkeys(METRICS, value) | {f"{name}_per_sample": value / 2 for name in METRICS} | {"ausuc": value}
    given = {"kind": "single", "config": {"beta": 1.0}, "searched": True, "run": f"run-{method}", "started": 1.0}
    return Result(
        method=f"methods.{method}",
        data=Data(split=split, **data),
        protocol=protocol,
        seed=seed,
        metrics=metrics,
        **given | others,
    )
