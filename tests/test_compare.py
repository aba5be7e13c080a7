"""`python -m platform.compare`, on trainings that take a second."""

import csv
import json
from pathlib import Path

import pytest
from verbs import events, invoked, small_options, write_small_dataset

from platform.tracking.store import open_store


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def small_dataset(home):
    return write_small_dataset(home / "small")


@pytest.fixture(scope="module")
def runs(home, small_dataset):
    """A runs folder with trainings of SA-DVAE and of CADA-VAE, two seeds each."""
    common = ["--dataset", small_dataset, "--split", "two", "--encoder", "attributes", "--runs", home / "runs"]
    options = small_options(small_dataset, home / "runs")
    assert invoked("train", "methods.sadvae", *options, "--seeds", 2, "--json")[0] == 0
    assigned = ["--set", "epochs=2", "--set", "hidden=false"]
    assert invoked("train", "methods.cadavae", *common, *assigned, "--seeds", 2, "--json")[0] == 0
    return home / "runs"


def compared(runs, *options):
    """What a comparison wrote, as its last event says."""
    code, output, errors = invoked("compare", "--runs", runs, *options, "--json")
    assert code == 0, errors
    (event,) = events(output, "comparison")
    return event


def rows(event, table):
    (path,) = [path for path in event["files"] if path.endswith(f"/{table}.csv")]
    return list(csv.DictReader(Path(path).read_text().splitlines()))


@pytest.fixture(scope="module")
def comparison(runs):
    return compared(runs)


def test_every_method_stands_under_both_protocols(comparison):
    found = {(row["method"], row["protocol"]) for row in rows(comparison, "comparison")}
    assert found == {(method, protocol) for method in ("sadvae", "cadavae") for protocol in ("clean", "released")}
    assert {row["values"] for row in rows(comparison, "comparison")} == {"2"}


def test_the_page_is_one_file_that_asks_nothing_of_the_network(comparison):
    (path,) = [path for path in comparison["files"] if path.endswith("page.html")]
    text = Path(path).read_text()
    assert "<svg" in text
    assert "ECCV" in text or "European Conference" in text  # what to cite
    for reference in ('src="', "<script", "<link", "@import", "url(http"):
        assert reference not in text


def test_the_page_says_chance_samples_and_which_h(comparison, runs):
    def text(event):
        (path,) = [path for path in event["files"] if path.endswith("page.html")]
        return Path(path).read_text()

    assert "ZSL among 2 classes, chance 50.0 %" in text(comparison)
    assert "test samples of unseen classes" in text(comparison)
    assert "n = 2" in text(comparison)
    assert "H: mean over the H of each seed and split" in text(comparison)
    asked = compared(runs, "--harmonic-mean", "of-means", "--no-figures", "--papers", "none")
    assert "H: of the mean s and the mean u" in text(asked)


def test_the_comparison_is_a_run_with_its_files_in_mlflow(comparison, runs):
    client = open_store(runs)
    (experiment,) = [e for e in client.search_experiments() if e.name == "unseen"]
    name = comparison["folder"].rpartition("/")[2]
    (run,) = [r for r in client.search_runs([experiment.experiment_id]) if r.info.run_name == name]
    assert run.info.status == "FINISHED"
    assert {"page.html", "comparison.md", "comparison.tex", "comparison.csv"} <= {
        artifact.path for artifact in client.list_artifacts(run.info.run_id)
    }


def test_methods_are_tested_against_each_other(comparison):
    found = rows(comparison, "significance-clean")
    assert {row["method"] for row in found} & {"sadvae, random, attributes, name", "cadavae, random, attributes, name"}
    assert {row["metric"] for row in found} >= {"difference", "p"}


def test_a_comparison_of_one_method_shows_no_other(runs):
    event = compared(runs, "--methods", "sadvae", "--no-figures", "--kind", "all", "--protocol", "clean")
    found = rows(event, "comparison")
    assert {(row["method"], row["protocol"]) for row in found} == {("sadvae", "clean")}
    assert {row["model"] for row in found} == {"single", "ensemble of 2 seeds"}


def test_run_folders_are_compared_without_a_store(runs, tmp_path):
    folders = sorted(runs.glob("train-*"))
    code, output, _ = invoked("compare", *folders, "--runs", tmp_path, "--no-figures", "--json")
    assert code == 0
    (event,) = events(output, "comparison")
    assert {row["method"] for row in rows(event, "comparison")} == {"sadvae", "cadavae"}


def test_the_terminal_shows_tables_and_where_the_page_is(runs):
    code, output, errors = invoked("compare", "--runs", runs, "--no-figures")
    assert (code, errors) == (0, "")
    assert "Methods by data sets and splits" in output
    assert "page, LaTeX, Markdown and CSV: " in output


def test_an_ablation_says_what_is_missing_and_runs_it(runs, small_dataset):
    base = min(runs.glob("train-sadvae-*"))
    asked = ["--table", "sadvae-6", "--base", base, "--seeds", 2]
    code, _, errors = invoked("compare", "--runs", runs, *asked, "--json")
    assert code == 0
    said = [line for line in errors.splitlines() if line.startswith("missing: ")]
    assert said == [f"missing: {name} on two, seeds 0, 1" for name in ("Naive alignment", "FD")]
    before = {path.name for path in runs.glob("train-*")}
    table = compared(runs, *asked, "--run")
    new = sorted({path.name for path in runs.glob("train-*")} - before)
    assert len(new) == 2
    tested = [row for row in rows(table, "sadvae-6") if row["published"] == "False"]
    assert {(row["row"], row["protocol"]) for row in tested} == {
        (name, protocol) for name in ("Naive alignment", "FD", "SA-DVAE (FD+TC)") for protocol in ("clean", "released")
    }
    alignments = {json.loads((runs / name / "experiment.json").read_text())["configs"][0]["alignment"] for name in new}
    assert alignments == {"naive", "fd"}
    again = {path.name for path in runs.glob("train-*")}
    compared(runs, *asked, "--run")
    assert {path.name for path in runs.glob("train-*")} == again  # nothing is trained twice


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing-of-that-name"], "has no experiment and no run of its own named `nothing-of-that-name`"),
        (["--methods", "sdvae"], "--methods sdvae: was not tested; there is cadavae, sadvae"),
        (["--splits", "ru5"], "--splits ru5: was not tested; there is two"),
        (["--kind", "both"], "--kind both: expected one of single, ensemble, all"),
        (["--harmonic-mean", "median"], "--harmonic-mean median: expected one of auto, mean, of-means"),
        (["--metric", "accuracy"], "--metric accuracy: expected one of zsl, seen, unseen, harmonic_mean, ausuc\n"),
        (["--table", "sadvae-9"], "--table sadvae-9: no such ablation; did you mean `sadvae-"),
        (["--papers", "sadvae-99"], "sadvae-99"),
        (["--against", "synse"], "--against synse: was not tested"),
    ],
)
def test_wrong_input_is_one_line(runs, arguments, message):
    before = sorted(path.name for path in runs.iterdir())
    code, _, errors = invoked("compare", "--runs", runs, *arguments, "--no-figures")
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert sorted(path.name for path in runs.iterdir()) == before


def test_an_empty_store_says_what_to_do(tmp_path):
    code, _, errors = invoked("compare", "--runs", tmp_path)
    assert code == 2
    assert "nothing was tested there yet; run python -m platform.train or python -m platform.tune" in errors


def missing_of(runs, *options):
    """What `--table sadvae-8` says that it lacks, and the note of what is left out."""
    base = min(runs.glob("train-sadvae-*"))
    asked = ("--table", "sadvae-8", "--base", base, "--no-figures", *options)
    code, output, errors = invoked("compare", "--runs", runs, *asked)
    assert code == 0, errors
    lines = (errors + output).splitlines()
    return [line for line in lines if line.startswith("missing: SA-DVAE (z_x^r as input)")], " ".join(lines)


def test_a_table_is_of_one_data_set_whatever_others_are_called(home, runs):
    other = write_small_dataset(home / "elsewhere" / "small", seed=1)
    assert missing_of(runs, "--seeds", 2)[0] == []
    assert missing_of(runs, "--dataset", other, "--encoder", "attributes", "--splits", "two", "--seeds", 2)[0] == [
        "missing: SA-DVAE (z_x^r as input) on two, seeds 0, 1"
    ]


def test_a_table_takes_the_seeds_and_folds_that_are_asked_for(runs):
    lacking, said = missing_of(runs, "--seeds", 1)
    assert lacking == []
    assert "--seeds 1: left out are seeds 1" in said
    lacking, said = missing_of(runs, "--seeds", 2, "--folds", 7)
    assert lacking == ["missing: SA-DVAE (z_x^r as input) on two, seeds 0, 1"]
    assert "--folds 7: left out are train-sadvae-small" in said
