"""Compare what was tested, beside the papers' tables: `python -m platform.compare`."""

# ruff: noqa: RUF013 (the options' types stand in platform/options.py)

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from platform import cli, options
from platform.errors import InputError

if TYPE_CHECKING:
    from platform.report.ablations import Planned
    from platform.report.comparison import HarmonicMean, Table
    from platform.report.results import Result
    from platform.zeroshot.problem import ProblemOptions

app = cli.application(__doc__)


@app.command()
def compare(
    sources: Annotated[
        list[str] | None, typer.Argument(help="run folders, or names of MLflow runs or experiments; all if absent")
    ] = None,
    methods: Annotated[str | None, typer.Option(help="only these, as in sadvae,synse")] = None,
    splits: Annotated[str | None, typer.Option(help="only these, as in ru5,ru9")] = None,
    kind: Annotated[str, typer.Option(help="single models, `ensemble`s, or all")] = "single",
    protocol: Annotated[str, typer.Option(help="clean, released or both")] = "both",
    per_sample: Annotated[
        bool, typer.Option("--per-sample", help="accuracies over samples, as the skeleton papers have them")
    ] = False,
    averaged: Annotated[
        str,
        typer.Option(
            "--harmonic-mean",
            help="H of several tests: the mean of their H, or that of-means of s and u; auto: as the paper beside",
        ),
    ] = "auto",
    metric: Annotated[str, typer.Option(help="of tests of significance: zsl, seen, unseen, harmonic_mean, ausuc")] = (
        "zsl"
    ),
    against: Annotated[
        str | None, typer.Option(help="method, or row of --table, that others are tested against; the best if absent")
    ] = None,
    papers: Annotated[str, typer.Option(help="papers' tables to show, as in sadvae-3,synse-2; none, or auto")] = "auto",
    figures: Annotated[bool, typer.Option(help="draw figures of the models")] = True,
    table: Annotated[str | None, typer.Option(help="an ablation instead, as sadvae-6; list shows them")] = None,
    run: Annotated[bool, typer.Option("--run", help="with --table: train and test what is missing")] = False,
    base: Annotated[
        list[Path] | None, typer.Option(help="with --table: run folder whose configuration and data rows start from")
    ] = None,
    assigned: options.Assignments = None,
    preset: options.Preset = None,
    dataset: options.DatasetFolder = None,
    features: Annotated[
        str | None, typer.Option(help="with --table: feature set; several, a,b, for one that compares them (sadvae-C)")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="with --table: class semantics (minilm); several, a,b, as above")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="with --table: texts of a class, as train has them; several, a,b (sadvae-G)")
    ] = None,
    combine: options.Combine = None,
    normalise: options.Normalise = None,
    unseen_test: options.UnseenTest = None,
    seeds: Annotated[int, typer.Option(min=1, help="with --table: seeds of each row")] = 5,
    folds: options.Folds = options.FOLDS,
    allow_seen_extractor: options.AllowSeenExtractor = False,
    device: options.Device = "auto",
    runs: options.Runs = Path("runs"),
    as_json: options.Json = False,
) -> None:
    """Compare what was tested: tables, tests of significance, figures, one HTML page."""
    from platform.report.published import published_table

    asked = _names(splits)
    if table == "list":
        _list_tables()
        return
    _check(kind, protocol, metric, averaged)
    which = None if averaged == "auto" else averaged
    results = _results(sources or [], runs, ablation=table is not None)
    if table is not None:
        if run and sources:
            raise InputError("--run: what it trains stands in --runs; leave the SOURCES out")
        problems, values = _base(
            base or [],
            table,
            preset,
            assigned,
            dataset,
            asked,
            features,
            encoder,
            text,
            combine,
            normalise,
            unseen_test,
        )
        on = asked or [problems[0].split]
        if run:
            for problem in problems:
                options.check_extractor(problem, on, allow_seen_extractor)
            results = _run_missing(table, problems, values, on, range(seeds), results, runs, folds, device, as_json)
        results = [r for r in results if protocol in ("both", r.protocol)]
        shown, found = _ablation(table, problems, values, on, range(seeds), results, per_sample, which)
        drawn = _figures(found, runs, device) if figures else {}
        beside = _verdicts(found, metric, against, per_sample)
        _end([shown, *beside], found, runs, f"compare {table}", drawn, _citations(found), as_json)
        return
    chosen = _chosen(results, _names(methods), asked, kind, protocol)
    found, aside = _latest(chosen)
    named = [published_table(name) for name in _names(papers)] if papers not in ("auto", "none") else None
    tables = _tables(found, metric, against, per_sample, papers, named, which)
    drawn = _figures(found, runs, device) if figures else {}
    if aside:
        said = f"older runs of the same method and data are left out: {', '.join(aside)}; name them to compare them"
        tables[0] = replace(tables[0], notes=(*tables[0].notes, said))
    _end(tables, found, runs, "compare", drawn, _citations(found), as_json)


def _check(kind: str, protocol: str, metric: str, averaged: str) -> None:
    from platform.report.comparison import HEADINGS

    for name, value, allowed in (
        ("--kind", kind, ("single", "ensemble", "all")),
        ("--protocol", protocol, ("clean", "released", "both")),
        ("--metric", metric, tuple(HEADINGS)),
        ("--harmonic-mean", averaged, ("auto", "mean", "of-means")),
    ):
        if value not in allowed:
            raise InputError(f"{name} {value}: expected one of {', '.join(allowed)}")


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


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
    """Of folders, of the store's runs by name, or of all the store. Raises InputError where there is none."""
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


def _chosen(
    results: "Sequence[Result]", methods: Sequence[str], splits: Sequence[str], kind: str, protocol: str
) -> "list[Result]":
    from platform.report.comparison import short

    for option, asked, known in (
        ("--methods", methods, {short(r.method) for r in results}),
        ("--splits", splits, {r.data.split for r in results}),
    ):
        if unknown := sorted(set(asked) - known):
            raise InputError(f"{option} {unknown[0]}: was not tested; there is {', '.join(sorted(known))}")
    found = [
        r
        for r in results
        if (not methods or short(r.method) in methods)
        and (not splits or r.data.split in splits)
        and (kind == "all" or (kind == "single") == (r.kind == "single"))
        and protocol in ("both", r.protocol)
    ]
    if not found:
        raise InputError(f"--kind {kind}, --protocol {protocol}: nothing of that was tested")
    return found


def _latest(results: "Sequence[Result]") -> "tuple[list[Result], list[str]]":
    from platform.report.results import latest

    return latest(results)


def _tables(
    results: "Sequence[Result]",
    metric: str,
    against: str | None,
    per_sample: bool,
    papers: str,
    named: "Sequence[Any] | None",
    averaged: "HarmonicMean | None",
) -> "list[Table]":
    from platform.report.comparison import comparison_table, published_comparison
    from platform.report.published import published_tables
    from platform.report.verdicts import agreement_table

    methods = {r.method for r in results}
    ablated = {table.key for table in published_tables() if any(row.variant for row in table.rows)}
    beside = named if named is not None else [t for t in published_tables() if t.key not in ablated]
    if papers == "none":
        beside = []
    tables = [comparison_table(results, per_sample=per_sample, published=beside, averaged=averaged)]
    tables += _verdicts(results, metric, against, per_sample)
    if papers == "auto":  # those that compare the most of these methods
        common = {t.key: len(methods & {row.method for row in t.rows}) for t in beside}
        beside = [t for t in beside if common[t.key] >= 2]
    if (agreement := agreement_table(results, beside, metric, per_sample)) is not None:
        tables.append(agreement)
    return [*tables, *(published_comparison(t, methods) for t in beside)]


def _verdicts(results: "Sequence[Result]", metric: str, against: str | None, per_sample: bool) -> "list[Table]":
    """Tests of significance under each protocol, purity where there are clusters, and looks where there are steps."""
    from platform.report.verdicts import names_of, purity_table, significance_table, steps_table

    single = [r for r in results if r.kind == "single"]
    if against is not None and not any(against in names_of(r) for r in single):
        known = sorted({names_of(r)[0] for r in single})
        raise InputError(f"--against {against}: was not tested; there is {', '.join(known)}")
    tables = [
        significance_table([r for r in single if r.protocol == protocol], metric, against, per_sample, protocol)
        for protocol in ("clean", "released")
    ]
    return [table for table in (*tables, purity_table(single), steps_table(single)) if table is not None]


def _figures(results: "Sequence[Result]", runs: Path, device: str) -> dict[str, str]:
    from platform.report.drawing import figures_of

    return figures_of(results, runs, cli.say, device)


def _citations(results: "Sequence[Result]") -> dict[str, str]:
    from platform.method import load_method

    return {method: load_method(method).citation for method in sorted({r.method for r in results})}


def _base(
    folders: Sequence[Path],
    table: str,
    preset: str | None,
    assigned: Sequence[str] | None,
    dataset: Path | None,
    splits: Sequence[str],
    features: str | None,
    encoder: str | None,
    text: str | None,
    combine: str | None,
    normalise: str | None,
    unseen_test: str | None,
) -> "tuple[list[ProblemOptions], dict[str, Mapping[str, Any]]]":
    """The data that an ablation runs on, a feature set and a class text each, and its rows' first fields, by method."""
    from platform.report.ablations import ablation
    from platform.report.results import run_of_folder

    values: dict[str, Mapping[str, Any]] = {}
    problems: list[ProblemOptions] = []
    for folder in folders:
        method, problem, config = run_of_folder(folder)
        values[method] = config
        problems = problems or [problem]
    plan = ablation(table)
    for method in {row.method for row in plan.rows}:
        own = options.base_values(method, preset, assigned, normalise) if preset or assigned or normalise else {}
        values[method] = {**values.get(method, {}), **own}
    wanted = {options.text_parts(row.method, {**values[row.method], **row.fields}) for row in plan.rows}
    parts = wanted.pop() if len(wanted) == 1 else ()  # rows that differ in it need it said
    texts = _names if "text" in plan.over else lambda given: [given] if given else []  # a path may hold a comma
    if dataset is None and problems:
        (first, *_), own = problems, problems[0].text
        where, what = (first.dataset, first.split), (first.features, own.encoder, own.text)
        how = combine or own.combine, first.masked_features, unseen_test or first.unseen_test
    else:
        where, what = (dataset, splits[0] if splits else None), (None, "minilm", None)
        how = combine, None, unseen_test
    several = zip((_names(features), texts(encoder), texts(text)), what, strict=True)
    each = product(*(given or [known] for given, known in several))
    return [options.problem_options(*where, *one, *how, parts) for one in each], values


def _run_missing(
    name: str,
    problems: "Sequence[ProblemOptions]",
    base: "Mapping[str, Mapping[str, Any]]",
    splits: Sequence[str],
    seeds: Sequence[int],
    results: "Sequence[Result]",
    runs: Path,
    folds: int,
    device: str,
    as_json: bool,
) -> "list[Result]":
    """All results, once what an ablation's table lacks has been trained and tested."""
    from platform.report.ablations import ablation, missing, planned
    from platform.report.results import results_of_store

    for one in planned(ablation(name), problems, base):
        for lacking, where in missing(one, results, splits, seeds).items():
            _train(one, lacking, where, runs, folds, device, as_json)
    return results_of_store(runs)


def _ablation(
    name: str,
    problems: "Sequence[ProblemOptions]",
    base: "Mapping[str, Mapping[str, Any]]",
    splits: Sequence[str],
    seeds: Sequence[int],
    results: "Sequence[Result]",
    per_sample: bool,
    averaged: "HarmonicMean | None",
) -> "tuple[Table, list[Result]]":
    """An ablation's table and the tests in it; what is missing is said."""
    from platform.report.ablations import ablation, ablation_table, missing, planned, tests_of
    from platform.report.published import find_published

    plan = ablation(name)
    wanted = planned(plan, problems, base)
    lacking = [(one, *pair) for one in wanted for pair in missing(one, results, splits, seeds).items()]
    for one, lacked, where in lacking:
        cli.say(f"missing: {one.row.name} on {', '.join(where)}, seeds {', '.join(map(str, lacked))}")
    if lacking:
        cli.say("--run trains and tests what is missing")
    table = ablation_table(plan, wanted, results, splits, find_published(name), per_sample, averaged)
    own = [replace(r, row=one.row.name) for one in wanted for r in tests_of(one, results) if r.data.split in splits]
    return table, own


def _train(
    wanted: "Planned", seeds: Sequence[int], splits: Sequence[str], runs: Path, folds: int, device: str, as_json: bool
) -> None:
    from platform.train import carry_out
    from platform.training.trainable import Experiment

    experiment = Experiment(
        method=wanted.row.method,
        problem=wanted.problem.model_copy(update={"split": splits[0]}),
        protocol=options.protocol_options("both", folds),
        configs=(dict(wanted.config),),
        seeds=tuple(seeds),
        splits=tuple(splits),
        test=True,
        device=device,
    )
    cli.say(f"training {wanted.row.name}: {', '.join(splits)}, {len(seeds)} seeds")
    folder = options.run_folder(runs, "train", wanted.row.method, wanted.problem.dataset.name)
    carry_out(experiment, folder, 1, None, as_json)


def _end(
    tables: "Sequence[Table]",
    results: "Sequence[Result]",
    runs: Path,
    title: str,
    figures: Mapping[str, str],
    citations: Mapping[str, str],
    as_json: bool,
) -> None:
    """Show the tables, write them with the page into a folder, and record it in MLflow."""
    from platform.report.formats import terminal
    from platform.report.written import write_report
    from platform.tracking.environment import environment_tags
    from platform.tracking.record import Tracker

    folder = options.run_folder(runs, "compare", tables[0].name, results[0].data.name if results else "papers")
    written = write_report(folder, title, tables, results, figures, citations)
    tracker = Tracker(runs, "unseen")
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
