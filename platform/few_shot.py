"""Test a trained model after a few samples of each unseen class: `python -m platform.few_shot MODEL --shots 2`."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from platform import cli, options
from platform.configuration import assignments
from platform.datasets import extractor_check
from platform.files import write_json, writing
from platform.groups import grouped
from platform.setup import ConfiguredMethod, ProblemData

if TYPE_CHECKING:
    from platform.tracking.record import Tracker
    from platform.training.few_shot import FewShotProblem, FewShotTest

app = cli.application(__doc__)
_SHOTS = (2, 4, 8, 16)  # of ReGen's Table 6


@app.command(no_args_is_help=True)
@grouped
def few_shot(
    model: Annotated[Path, typer.Argument(help="folder of a model, such as RUN/models/0-clean", metavar="MODEL")],
    place: options.PlaceOptions,
    shots: Annotated[
        list[int] | None, typer.Option(min=1, help="samples of each class; may be repeated; 2, 4, 8 and 16 if absent")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="draws of the samples, each with a training of its own")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="of the first draw")] = 0,
    assigned: Annotated[
        list[str] | None, typer.Option("--set", help="a field's value while it learns, FIELD=VALUE; may be repeated")
    ] = None,
    dataset: Annotated[Path | None, typer.Option(help="data folder; the one it was trained on if absent")] = None,
    split: Annotated[str | None, typer.Option(help="class split; the model's own if absent")] = None,
    allow_seen_extractor: options.AllowSeenExtractor = False,
    as_json: options.Json = False,
) -> None:
    """Let a trained model learn from a few training samples of each unseen class, and test it on these classes.

    The samples are drawn from the training partition, and tests are on the test partition. Fields that are not set are
    those of the trained configuration.
    """
    from platform.report.chance import chance_of
    from platform.training.devices import device_of
    from platform.training.few_shot import FewShotProblem
    from platform.zeroshot.problem import ProblemOptions

    wanted, device = sorted(set(shots or _SHOTS)), device_of(place.device)
    values = assignments(assigned or [])
    problem = FewShotProblem.of(model, dataset, split, place.device)
    problem.check(wanted)
    ConfiguredMethod.of(problem.name, values)
    data = ProblemData.of(ProblemOptions(**problem.record["problem"]))
    data.check_extractor(allow_seen_extractor or (dataset is None and split is None))  # its own was checked in training
    data.say_extractor(as_json)
    zero_shot = problem.zero_shot()
    seeds = range(seed, seed + draws)
    tests: list[FewShotTest] = []
    folder = place.new_folder("few-shot", problem.name, data.dataset.card.name)
    with (
        _Record(folder, model, problem, data, wanted, values) as record,
        Progress(console=cli.console, transient=True, disable=as_json) as progress,
    ):
        bar = progress.add_task("few-shot", total=draws * len(wanted))
        for test in problem.tests(wanted, seeds, values, device):
            tests.append(test)
            progress.advance(bar)
            if test.shots == wanted[-1]:
                record.draw(test.draw, [t for t in tests if t.draw == test.draw], zero_shot)
                write_json(folder / "few_shot.json", {"zero_shot": zero_shot, "tests": [asdict(t) for t in tests]})
    counts = {"classes": len(problem.pool.seen), "test_samples": len(problem.test.labels)}
    if as_json:
        about = {"model": str(model), "protocol": problem.record["protocol"], "split": data.problem.split, **counts}
        cli.event("zero_shot", {**about, **zero_shot})
        for test in tests:
            cli.event("few_shot", {**about, **asdict(test)})
        return
    marks = extractor_check.marks(data.extractor_kinds())
    title = f"{data.dataset.card.name}, split {data.problem.split}, protocol {problem.record['protocol']} {marks}"
    cli.line(title.rstrip())  # not the table's own title, which is as narrow as the table
    table = Table("shots", "accuracy, %", "per sample, %", "n")
    table.add_row("none: zero-shot", *(f"{100 * zero_shot[name]:.1f}" for name in ("zsl", "zsl_per_sample")), "1")
    for number in wanted:
        own = [test for test in tests if test.shots == number]
        per_class, per_sample = [t.accuracy for t in own], [t.accuracy_per_sample for t in own]
        table.add_row(str(number), _mean_and_spread(per_class), _mean_and_spread(per_sample), str(len(own)))
    cli.console.print(table)
    cli.line(
        f"n: draws of the samples, mean ± standard deviation; among {chance_of(counts['classes'])}; "
        f"{counts['test_samples']} test samples of the test partition"
    )
    cli.line(f"recorded in MLflow as {folder.name}")


class _Record:
    """What is kept of the tests in MLflow: a run below the verb's own for each draw, ended whole.

    Its metrics are named as in a table's columns, under the model's protocol: `few_shot_2`, and `few_shot_0` before any
    sample. params: the trained configuration's, so that `compare` finds it.
    """

    def __init__(
        self,
        folder: Path,
        model: Path,
        problem: "FewShotProblem",
        data: ProblemData,
        shots: Sequence[int],
        values: Mapping[str, Any],
    ) -> None:
        self.folder, self.model, self.problem, self.data, self.shots, self.values = (
            folder, model, problem, data, shots, values,
        )  # fmt: skip
        self.tracker: Tracker | None = None

    def __enter__(self) -> "_Record":
        from platform.tracking.environment import environment_tags
        from platform.tracking.record import Tracker

        self.tracker = Tracker(self.folder.parent, "unseen")
        with writing(self.folder):
            self.folder.mkdir(parents=True)  # which also keeps its name from another call
        asked = {"method": self.problem.name, "model": self.model.resolve(), "shots": list(self.shots)}
        tags = {**environment_tags(), **self.data.tags(), **self.data.extractor_tags(), "method": self.problem.name}
        self.tracker.parent(
            self.folder.name, self.folder.name, asked | {f"set.{n}": v for n, v in self.values.items()}, tags
        )
        return self

    def draw(self, draw: int, tests: "Sequence[FewShotTest]", zero_shot: Mapping[str, float]) -> None:
        from platform.report.results import FEW_SHOT_TAG
        from platform.tracking.outcome import COUNTS
        from platform.tracking.record import RunRecord
        from platform.training.trainable import configuration_of
        from platform.zeroshot.counts import counts_of

        protocol, split = self.problem.record["protocol"], self.data.problem.split
        found = {0: (zero_shot["zsl"], zero_shot["zsl_per_sample"])}
        found |= {test.shots: (test.accuracy, test.accuracy_per_sample) for test in tests}
        metrics = {
            f"{protocol}/few_shot_{shots}{kind}": value
            for shots, pair in found.items()
            for kind, value in zip(("", "_per_sample"), pair, strict=True)
        }
        params = {**configuration_of(self.model), "seed": draw, "split": split}
        said = ", ".join(f"{name}={value}" for name, value in self.values.items())
        samples, model = self.problem.test, self.problem.model
        tags = {FEW_SHOT_TAG: said or "the trained configuration"}
        tags |= {f"{COUNTS}{n}": str(c) for n, c in counts_of(model.seen, model.unseen, samples).items()}
        key = f"{split}-draw-{draw}"
        self.tracker.child(RunRecord(key, key, params, (), metrics, "FINISHED", tags))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        status = "FINISHED" if kind is None else "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
        self.tracker.finish(status)
        if status == "KILLED":
            cli.say("stopped; draws that had ended stand in MLflow")
            raise typer.Exit(130)


def _mean_and_spread(values: Sequence[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{spread}"


if __name__ == "__main__":
    cli.run(app, "platform.few_shot")
