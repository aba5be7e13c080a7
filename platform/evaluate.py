"""Test a trained model on a data folder: `python -m platform.evaluate MODEL --dataset FOLDER`."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from platform import cli, options
from platform.datasets.folder import Dataset
from platform.errors import InputError

app = cli.application(__doc__)


@app.command(no_args_is_help=True)
def evaluate(
    model: Annotated[Path, typer.Argument(help="folder of a model, such as RUN/models/0-clean", metavar="MODEL")],
    dataset: Annotated[Path | None, typer.Option(help="data folder; the one it was trained on if absent")] = None,
    split: Annotated[str | None, typer.Option(help="class split; the model's own if absent")] = None,
    as_json: options.Json = False,
) -> None:
    """Test a trained model on the test partition of a data folder.

    With another split, the model is given that split's unseen classes; none of them may be one that it was trained on.
    """
    import torch

    from platform.training.saved_models import load_model
    from platform.zeroshot.evaluation import all_metrics
    from platform.zeroshot.normaliser import Normaliser
    from platform.zeroshot.problem import ProblemOptions, class_semantics_of
    from platform.zeroshot.task import Samples

    trained, record = load_model(model)
    asked = ProblemOptions(**record["problem"])
    asked = asked.model_copy(update={"dataset": dataset or asked.dataset, "split": split or asked.split})
    opened = Dataset(asked.dataset)
    unseen = opened.split(asked.split).unseen
    if trained_on := sorted(set(unseen) & set(trained.seen)):
        raise InputError(
            f"split `{asked.split}`: class `{trained_on[0]}` is unseen there, but the model was trained on it"
        )
    if set(unseen) != set(trained.unseen):
        trained = trained.with_classes(unseen, class_semantics_of(opened, asked, unseen))
    number = {name: i for i, name in enumerate([*trained.seen, *trained.unseen])}
    labels = np.array([number.get(name, -1) for name in opened.class_names])[opened.labels]
    rows = np.flatnonzero(~opened.train & (labels >= 0))
    features = opened.features(asked.features)[rows]
    normaliser = Normaliser.from_record(record["normaliser"])
    if features.shape[1] != len(normaliser.shift):
        raise InputError(
            f"{asked.dataset}: features have {features.shape[1]} dimensions, the model {len(normaliser.shift)}"
        )
    for side, count in (
        ("seen", (labels[rows] < len(trained.seen)).sum()),
        ("unseen", (labels[rows] >= len(trained.seen)).sum()),
    ):
        if not count:
            raise InputError(f"{asked.dataset}: no test sample of a class that is {side} for this model")
    logits = None
    if opened.logits is not None:
        columns = [opened.class_names.index(name) for name in trained.seen if name in opened.class_names]
        logits = torch.from_numpy(opened.logits[rows][:, columns])
    samples = Samples(normaliser(torch.from_numpy(features)), torch.from_numpy(labels[rows]), logits)
    metrics = all_metrics(trained, samples)
    if as_json:
        cli.event("metrics", {"model": str(model), "protocol": record["protocol"], "split": asked.split, **metrics})
        return
    table = Table("metric", "%", title=f"{asked.dataset.name}, split {asked.split}, protocol {record['protocol']}")
    for name, value in metrics.items():
        table.add_row(name.replace("_", " "), f"{100 * value:.1f}")
    cli.console.print(table)


if __name__ == "__main__":
    cli.run(app, "platform.evaluate")
