"""Compare what was tested, beside the papers' tables: `python -m platform.compare`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from platform import cli, options
from platform.errors import InputError
from platform.groups import Read, grouped
from platform.setup import ConfiguredMethod, ProblemData
from platform.train import carry_out, setup_of

if TYPE_CHECKING:
    from platform.report.ablations import Ablation, Planned
    from platform.report.comparison import HarmonicMean, Table
    from platform.report.results import Result

app = cli.application(__doc__)
_SEEDS = 5  # of each row that --run trains
_NAMES = Read(str | None, lambda flag, text: options.names(text))


@dataclass(frozen=True)
class ResultOptions:
    """Which results are compared."""

    methods: Annotated[tuple[str, ...], typer.Option(help="only these, as in sadvae,synse"), _NAMES] = ()
    splits: Annotated[tuple[str, ...], typer.Option(help="only these, as in ru5,ru9"), _NAMES] = ()
    kind: Annotated[Literal["single", "ensemble", "all"], typer.Option(help="single models, `ensemble`s, or all")] = (
        "single"
    )
    protocol: Annotated[Literal["clean", "released", "both"], typer.Option(help="clean, released or both")] = "both"


@dataclass(frozen=True)
class TableOptions:
    """What the tables show of the results."""

    per_sample: Annotated[
        bool, typer.Option("--per-sample", help="accuracies over samples, as in the skeleton papers, not per class")
    ] = False
    harmonic_mean: Annotated[
        Literal["auto", "mean", "of-means"],
        typer.Option(
            help="H over several tests: mean of H, or of-means: H of the mean s and u; auto: as in the paper",
        ),
    ] = "auto"
    metric: Annotated[
        Literal["zsl", "seen", "unseen", "harmonic_mean", "ausuc"],
        typer.Option(help="metric of the significance tests: zsl, seen, unseen, harmonic_mean, ausuc"),
    ] = "zsl"
    against: Annotated[
        str | None, typer.Option(help="method, or row of --table, to compare others against; the best if absent")
    ] = None
    papers: Annotated[str, typer.Option(help="papers' tables to show, as in sadvae-3,synse-2; none, or auto")] = "auto"
    figures: Annotated[bool, typer.Option(help="draw figures of the models")] = True

    @property
    def averaged(self) -> "HarmonicMean | None":
        """How H is averaged over several tests; None: as in the paper that is shown."""
        return None if self.harmonic_mean == "auto" else self.harmonic_mean


@dataclass(frozen=True)
class AblationOptions(options.ConfigurationOptions):
    """An ablation, and the configuration and data that its rows start from."""

    table: Annotated[str | None, typer.Option(help="an ablation, such as sadvae-6; `list` shows all")] = None
    run: Annotated[bool, typer.Option("--run", help="with --table: train and test what is missing")] = False
    base: Annotated[
        list[Path] | None, typer.Option(help="with --table: run folder with the rows' base configuration and data")
    ] = None
    dataset: options.DatasetFolder = None
    features: Annotated[
        tuple[str, ...],
        typer.Option(help="with --table: feature set; several, a,b, for one that compares them (sadvae-C)"),
        _NAMES,
    ] = ()
    encoder: Annotated[
        str | None, typer.Option(help="with --table: class semantics (minilm); several, a,b, as above")
    ] = None
    text: Annotated[
        str | None, typer.Option(help="with --table: texts of a class, as train has them; several, a,b (sadvae-G)")
    ] = None
    combine: options.CombineTexts = None
    unseen_test: options.UnseenSamples = None
    seeds: Annotated[
        int | None, typer.Option(min=1, help="with --table: seeds of each row, 0 to N - 1; if absent all, 5 with --run")
    ] = None
    folds: Annotated[
        int | None,
        typer.Option(min=1, help=f"with --table: only what was validated on N folds; {options.FOLDS} with --run"),
    ] = None
    allow_seen_extractor: options.AllowSeenExtractor = False


@dataclass(frozen=True)
class AblationRows:
    """The base of an ablation's rows: fields by method, data (one feature set and class text each), seeds and folds.

    seeds, folds: as asked; None: all that were tested count.
    """

    plan: "Ablation"
    base: Mapping[str, Mapping[str, Any]]
    data: Sequence[ProblemData]
    seeds: int | None
    folds: int | None

    @property
    def needed(self) -> range:
        """The seeds that each row should have."""
        return range(self.seeds or _SEEDS)

    @property
    def splits(self) -> tuple[str, ...]:
        return self.data[0].splits

    def wanted(self) -> "list[Planned]":
        """The ablation's rows on these data."""
        from platform.report.ablations import planned

        return planned(self.plan, [one.problem for one in self.data], self.base)

    def counted(self, results: "Sequence[Result]") -> "tuple[list[Result], list[str]]":
        """The results with these seeds and folds; and what is left out, or differs among them, in words."""
        validation = options.EvaluationOptions(self.folds).asked().validation if self.folds else ""
        alike = [r for r in results if not (validation and r.validation) or r.validation == validation]
        kept = [r for r in alike if self.seeds is None or r.seed in self.needed]
        said = []
        if others := sorted({r.run for r in results} - {r.run for r in alike}):
            said.append(f"--folds {self.folds}: left out are {', '.join(others)}")
        if others := sorted({r.seed for r in alike} - {r.seed for r in kept}):
            said.append(f"--seeds {self.seeds}: left out are seeds {', '.join(map(str, others))}")
        if len(validations := sorted({r.validation for r in kept if r.validation})) > 1:
            said.append(f"validated differently: {' / '.join(validations)}; --folds takes one of them")
        return kept, said


@app.command()
@grouped
def compare(
    asked: ResultOptions,
    shown: TableOptions,
    ablation: AblationOptions,
    place: options.PlaceOptions,
    sources: Annotated[
        list[str] | None, typer.Argument(help="run folders, or names of MLflow runs or experiments; all if absent")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Compare what was tested: tables, tests of significance, figures, one HTML page."""
    from platform.report.ablations import ablation as plan_of
    from platform.report.data_identity import named_apart
    from platform.report.drawing import figures_of
    from platform.report.results import latest, once, searches_apart

    if ablation.table == "list":
        _list_tables()
        return
    if ablation.table is not None and plan_of(ablation.table).few_shot:
        _few_shot(ablation, asked, shown, place, sources or [], as_json)
        return
    results = _results(sources or [], place.runs, ablation=ablation.table is not None)
    if ablation.table is not None:
        if ablation.run and sources:
            raise InputError("--run: what it trains stands in --runs; leave the SOURCES out")
        rows = _rows(ablation, asked.splits)
        if ablation.run:
            for one in rows.data:
                one.check_extractor(ablation.allow_seen_extractor)
            results = _run_missing(rows, results, place, as_json)
        results, _ = once([r for r in results if asked.protocol in ("both", r.protocol)])
        table, found = _ablation(rows, results, shown)
        tables, title = [table, *_verdicts(found, shown)], f"compare {ablation.table}"
    else:
        chosen = _chosen(results, asked)
        found, aside = once(chosen) if sources else latest(chosen)
        found = searches_apart(named_apart(found))
        tables, title = _tables(found, shown), "compare"
        if aside:
            why = "which later ones repeat" if sources else "of the same method and data; name them to compare them"
            said = f"older runs are left out, {why}: {', '.join(aside)}"
            tables[0] = replace(tables[0], notes=(*tables[0].notes, said))
    drawn = figures_of(found, place.runs, cli.say, place.device, shown.against) if shown.figures else {}
    _end(tables, found, place, title, drawn, as_json)


def _few_shot(
    ablation: AblationOptions,
    asked: ResultOptions,
    shown: TableOptions,
    place: options.PlaceOptions,
    sources: Sequence[str],
    as_json: bool,
) -> None:
    """A table of few-shot tests, which are runs of `platform.few_shot`."""
    from platform.report.ablations import tests_of
    from platform.report.results import latest, results_of_store

    if ablation.run:
        raise InputError(f"--run: python -m platform.few_shot MODEL tests what --table {ablation.table} shows")
    rows, found = _rows(ablation, asked.splits), []
    if sources or (place.runs / "mlflow.db").exists():
        found = results_of_store(place.runs, sources, few_shot=True)
    found, aside = latest([r for r in found if asked.protocol in ("both", r.protocol)])
    wanted = rows.wanted()
    for one in wanted:
        if lacking := set(rows.splits) - {r.data.split for r in tests_of(one, found)}:
            said = ", ".join(sorted(lacking))
            cli.say(f"missing: {one.row.name} on {said}: train it, then python -m platform.few_shot RUN/models/0-clean")
    table, own = _table_of(rows, wanted, found, shown)
    said = [f"runs: {', '.join(sorted({r.run for r in own}))}; the fields that they set stand in MLflow"] if own else []
    # they may have gone on with other fields
    said += [f"older few-shot runs are left out: {', '.join(aside)}; name them to see them"] if aside else []
    table = replace(table, notes=(*table.notes, *said))
    _end([table], own, place, f"compare {rows.plan.table}", {}, as_json)


def _list_tables() -> None:
    from platform.report.ablations import ablations
    from platform.report.published import published_tables

    for table in published_tables():
        said = " (--table runs it)" if table.key in ablations() else ""
        cli.console.print(f"{table.key:<16} {table.reference}: {table.title}{said}", soft_wrap=True, highlight=False)
    for plan in ablations().values():
        if plan.title:
            cli.console.print(f"{plan.table:<16} {plan.title} (--table runs it)", soft_wrap=True, highlight=False)


def _results(sources: Sequence[str], runs: Path, ablation: bool) -> "list[Result]":
    """Results of folders, of the store's runs by name, or of all the store. Raises InputError for none."""
    from platform.report.results import results_of_folders, results_of_store

    folders = [Path(source) for source in sources if Path(source).exists()]
    names = [source for source in sources if not Path(source).exists()]
    found = results_of_folders(folders) if folders else []
    if names or not (folders or (ablation and not (runs / "mlflow.db").exists())):
        found += results_of_store(runs, names)
    if not found and not ablation:
        where = ", ".join(sources) or f"the MLflow store of {runs}"
        raise InputError(
            f"{where}: nothing was tested there yet; run python -m platform.train or python -m platform.tune"
        )
    return found


def _chosen(results: "Sequence[Result]", asked: ResultOptions) -> "list[Result]":
    from platform.report.comparison import short

    for option, named, known in (
        ("--methods", asked.methods, {short(r.method) for r in results}),
        ("--splits", asked.splits, {r.data.split for r in results}),
    ):
        if unknown := sorted(set(named) - known):
            raise InputError(f"{option} {unknown[0]}: was not tested; there is {', '.join(sorted(known))}")
    found = [
        r
        for r in results
        if (not asked.methods or short(r.method) in asked.methods)
        and (not asked.splits or r.data.split in asked.splits)
        and (asked.kind == "all" or (asked.kind == "single") == (r.kind == "single"))
        and asked.protocol in ("both", r.protocol)
    ]
    if not found:
        raise InputError(f"--kind {asked.kind}, --protocol {asked.protocol}: nothing of that was tested")
    return found


def _tables(results: "Sequence[Result]", shown: TableOptions) -> "list[Table]":
    from platform.report.comparison import comparison_table, published_comparison
    from platform.report.published import published_table, published_tables
    from platform.report.verdicts import agreement_table

    methods = {r.method for r in results}
    if shown.papers == "none":
        beside = []
    elif shown.papers == "auto":
        beside = [t for t in published_tables() if not t.ablation]
    else:
        beside = [published_table(name) for name in options.names(shown.papers)]
    tables = [comparison_table(results, per_sample=shown.per_sample, published=beside, averaged=shown.averaged)]
    tables += _verdicts(results, shown)
    if shown.papers == "auto":  # those that share the most methods
        common = {t.key: len(methods & {row.method for row in t.rows}) for t in beside}
        beside = [t for t in beside if common[t.key] >= 2]
    if (agreement := agreement_table(results, beside, shown.metric, shown.per_sample)) is not None:
        tables.append(agreement)
    return [*tables, *(published_comparison(t, methods) for t in beside)]


def _verdicts(results: "Sequence[Result]", shown: TableOptions) -> "list[Table]":
    """Tests of significance under each protocol, purity where there are clusters, and looks where there are steps."""
    from platform.report.verdicts import names_of, purity_table, significance_table, steps_table

    single, against = [r for r in results if r.kind == "single"], shown.against
    if against is not None and not any(against in names_of(r) for r in single):
        known = sorted({names_of(r)[0] for r in single})
        raise InputError(f"--against {against}: was not tested; there is {', '.join(known)}")
    tables = [
        significance_table(
            [r for r in single if r.protocol == protocol], shown.metric, against, shown.per_sample, protocol
        )
        for protocol in ("clean", "released")
    ]
    return [table for table in (*tables, purity_table(single), steps_table(single)) if table is not None]


def _rows(asked: AblationOptions, splits: Sequence[str]) -> AblationRows:
    """The base of an ablation's rows: the base folders', unless the options say otherwise."""
    from platform.report.ablations import ablation
    from platform.report.results import run_of_folder

    values: dict[str, Mapping[str, Any]] = {}
    bases = [run_of_folder(folder) for folder in asked.base or []]
    for method, _, config in bases:
        values[method] = config
    plan = ablation(asked.table)
    given = asked.preset or asked.assigned or asked.normalise
    for method in {row.method for row in plan.rows}:
        values[method] = {**values.get(method, {}), **(asked.configured(method).values if given else {})}
    wanted = {ConfiguredMethod.of(row.method, {**values[row.method], **row.fields}).text_parts for row in plan.rows}
    parts = wanted.pop() if len(wanted) == 1 else ()  # where rows differ in it, it must be given
    texts = options.names if "text" in plan.over else lambda given: [given] if given else []  # a path may hold a comma
    start = options.DataOptions(dataset=asked.dataset, combine=asked.combine, unseen_test=asked.unseen_test)
    if asked.dataset is None and bases:
        own = bases[0][1]
        start = options.DataOptions(
            dataset=own.dataset,
            split=own.split,
            features=own.features,
            encoder=own.text.encoder,
            text=own.text.text,
            combine=asked.combine or own.text.combine,
            masked_features=own.masked_features,
            unseen_test=asked.unseen_test or own.unseen_test,
        )
    each = product(
        asked.features or [start.features],
        texts(asked.encoder) or [start.encoder],
        texts(asked.text) or [start.text],
    )
    data = [replace(start, features=f, encoder=e, text=t).found(parts, splits) for f, e, t in each]
    return AblationRows(plan, values, data, asked.seeds, asked.folds)


def _run_missing(
    rows: AblationRows, results: "Sequence[Result]", place: options.PlaceOptions, as_json: bool
) -> "list[Result]":
    """All results, once what an ablation's table lacks has been trained and tested."""
    from platform.report.ablations import missing
    from platform.report.results import results_of_store

    counted, _ = rows.counted(results)
    for one in rows.wanted():
        for lacking, where in missing(one, counted, rows.splits, rows.needed).items():
            _train(one, lacking, where, rows.folds or options.FOLDS, place, as_json)
    return results_of_store(place.runs)


def _ablation(rows: AblationRows, results: "Sequence[Result]", shown: TableOptions) -> "tuple[Table, list[Result]]":
    """An ablation's table and the tests in it; reports what is missing."""
    from platform.report.ablations import missing, tests_of

    wanted = rows.wanted()
    tested = [r for one in wanted for r in tests_of(one, results)]
    results, left_out = rows.counted(tested)
    lacking = [(one, *pair) for one in wanted for pair in missing(one, results, rows.splits, rows.needed).items()]
    for one, lacked, where in lacking:
        cli.say(f"missing: {one.row.name} on {', '.join(where)}, seeds {', '.join(map(str, lacked))}")
    if lacking:
        cli.say("--run trains and tests what is missing")
    table, own = _table_of(rows, wanted, results, shown)
    return replace(table, notes=(*table.notes, *left_out)), own


def _table_of(
    rows: AblationRows, wanted: "Sequence[Planned]", results: "Sequence[Result]", shown: TableOptions
) -> "tuple[Table, list[Result]]":
    """An ablation's table, and the tests in it under the names of their rows."""
    from platform.report.ablations import ablation_table, tests_of
    from platform.report.published import find_published

    published = find_published(rows.plan.table)
    table = ablation_table(rows.plan, wanted, results, rows.splits, published, shown.per_sample, shown.averaged)
    own = [
        replace(r, row=one.row.name) for one in wanted for r in tests_of(one, results) if r.data.split in rows.splits
    ]
    return table, own


def _train(
    wanted: "Planned",
    seeds: Sequence[int],
    splits: Sequence[str],
    folds: int,
    place: options.PlaceOptions,
    as_json: bool,
) -> None:
    from platform.training.trainable import Experiment

    experiment = Experiment(
        method=wanted.row.method,
        problem=wanted.problem.on(splits[0]),
        protocol=options.EvaluationOptions(folds).asked(),
        configs=(dict(wanted.config),),
        seeds=tuple(seeds),
        splits=tuple(splits),
        test=True,
        device=place.device,
    )
    cli.say(f"training {wanted.row.name}: {', '.join(splits)}, {len(seeds)} seeds")
    folder = place.new_folder("train", wanted.row.method, wanted.problem.dataset.name)
    carry_out(experiment, setup_of(experiment), folder, options.WorkerOptions(place.device, place.runs), as_json)


def _end(
    tables: "Sequence[Table]",
    results: "Sequence[Result]",
    place: options.PlaceOptions,
    title: str,
    figures: Mapping[str, str],
    as_json: bool,
) -> None:
    """Show the tables, write them with the page into a folder, and record it in MLflow."""
    from platform.method import load_method
    from platform.report.formats import terminal
    from platform.report.written import write_report
    from platform.tracking.environment import environment_tags
    from platform.tracking.record import Tracker

    folder = place.new_folder("compare", tables[0].name, results[0].data.name if results else "papers")
    citations = {method: load_method(method).citation for method in sorted({r.method for r in results})}
    written = write_report(folder, title, tables, results, figures, citations)
    tracker = Tracker(place.runs, "unseen")
    compared = {"runs": ", ".join(sorted({r.run for r in results}))}
    tracker.parent(folder.name, folder.name, compared, {**environment_tags(), "comparison": title}, written)
    tracker.finish("FINISHED")
    if as_json:
        cli.event("comparison", {"folder": folder, "files": written, "tables": [table.name for table in tables]})
        return
    for table in tables:
        cli.console.print(*terminal(table, cli.console.width), "", sep="\n")
    cli.console.print(f"page, LaTeX, Markdown and CSV: {folder}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    cli.run(app, "platform.compare")
