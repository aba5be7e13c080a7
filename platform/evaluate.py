"""Test a trained model on a data folder: `python -m platform.evaluate MODEL --dataset FOLDER`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from platform import cli, options
from platform.datasets import extractor_check
from platform.setup import ProblemData

app = cli.application(__doc__)


@app.command(no_args_is_help=True)
def evaluate(
    model: Annotated[Path, typer.Argument(help="folder of a model, such as RUN/models/0-clean", metavar="MODEL")],
    dataset: Annotated[Path | None, typer.Option(help="data folder; the one it was trained on if absent")] = None,
    split: Annotated[str | None, typer.Option(help="class split; the model's own if absent")] = None,
    allow_seen_extractor: options.AllowSeenExtractor = False,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Test a trained model on the test partition of a data folder.

    With another split, the model is given that split's unseen classes; none of them may be one that it was trained on.
    """
    from platform.report.counts import measured_on
    from platform.training.evaluation import all_metrics, caption_metrics, step_metrics
    from platform.training.tested import model_and_samples
    from platform.zeroshot.counts import counts_of
    from platform.zeroshot.problem import ProblemOptions

    trained, samples, record = model_and_samples(model, dataset, split, device)
    asked = record["problem"]
    data = ProblemData.of(ProblemOptions(**asked))
    own = dataset is None and split is None  # the model's own data were checked when it was trained
    data.check_extractor(allow_seen_extractor or own)
    data.say_extractor(as_json)
    shares, counts = all_metrics(trained, samples), counts_of(trained.seen, trained.unseen, samples)
    numbers = step_metrics(trained, samples) | caption_metrics(trained, samples)
    shares |= {name: numbers.pop(name) for name in ("cider",) if name in numbers}  # printed times 100 as well
    if as_json:
        about = {"model": str(model), "protocol": record["protocol"], "split": asked["split"], "counts": counts}
        cli.event("metrics", {**about, **shares, **numbers})
        return
    named = f"{Path(asked['dataset']).name}, split {asked['split']}"
    marks = extractor_check.marks(data.extractor_kinds())
    table = Table("metric", "%", title=f"{named}, protocol {record['protocol']} {marks}".rstrip())
    for name, value in shares.items():
        table.add_row(name.replace("_", " "), f"{100 * value:.1f}")
    cli.console.print(table)
    for name, value in numbers.items():
        cli.line(f"{name.replace('_', ' ')}: {value:.1f}")
    cli.console.print(measured_on([counts]), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    cli.run(app, "platform.evaluate")
