"""What result files say of themselves, and what stands beside them."""

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

import platform
from benchmarks import earlier, record
from benchmarks.earlier import EarlierTable, beside_earlier, tables_of
from benchmarks.record import commit_of, keep

OLD = """# Accuracy

## Clips

### By method

| method | protocol | ZSL | H |
| --- | --- | ---: | ---: |
| a | clean | **40.0 ± 1.0** | 20.0 |
| b | released | 50.0† | *30.0* |

- a note
"""


def git(repository, *arguments):
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    done = subprocess.run(
        ["git", "-C", str(repository), *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a commit, whose results the benchmarks write."""
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (tmp_path / "code.py").write_text("1\n")
    (results / "tables-2020-01-02.md").write_text(OLD)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    monkeypatch.setattr(record, "RESULTS", results)
    monkeypatch.setattr(earlier, "RESULTS", results)
    monkeypatch.setattr(earlier, "_ROOT", tmp_path)
    return tmp_path


def test_a_result_says_its_commit_command_machine_and_libraries(repository, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "orig_argv", ["/somewhere/python", "-m", "benchmarks.tables", "--seeds", "1", "--scratch", "/some/folder"]
    )
    keep("tables", "Accuracy", ["a", "b"], [[1, 2]], ["a note"])
    text = (repository / f"benchmarks/results/tables-{date.today()}.md").read_text()
    assert capsys.readouterr().out.startswith(text)
    assert f"- commit {git(repository, 'rev-parse', 'HEAD')}\n" in text
    assert f"- {date.today()}, by `python -m benchmarks.tables --seeds 1 --scratch folder`" in text
    assert re.search(r"- \d+ cores \(.+\), ", text)
    assert f"Python {platform.python_version()}, torch " in text
    assert all(f"{library} " in text for library in ("ray", "numpy"))
    assert text.endswith("| a | b |\n| --- | --- |\n| 1 | 2 |\n\na note\n")
    keep("tables", "Accuracy", ["a", "b"], [[1, 2]], [])  # what the first one wrote does not make the tree another
    assert "uncommitted" not in (repository / f"benchmarks/results/tables-{date.today()}.md").read_text()


def test_changed_code_is_marked(repository):
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "benchmarks/results/other.md").write_text("another result")
    assert commit_of(repository) == commit
    (repository / "code.py").write_text("2\n")
    assert commit_of(repository) == f"{commit} with uncommitted changes"


def test_without_a_commit_nothing_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path / "benchmarks" / "results")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    keep("tables", "Accuracy", ["a"], [[1]], [])
    said = capsys.readouterr()
    assert "| 1 |" in said.out
    assert said.err == "not kept: the commit is unknown (no git, or no repository)\n"
    assert not (tmp_path / "benchmarks").exists()


def test_every_benchmark_keeps_its_tables_this_way():
    scripts = [path for path in Path(record.__file__).parent.glob("*.py") if "__main__" in path.read_text()]
    assert len(scripts) > 10
    assert [path.name for path in scripts if not re.search(r"\bkeep(_text)?\(", path.read_text())] == []


def test_tables_of_a_file_have_their_titles_and_no_marks():
    (table,) = tables_of(OLD)
    assert table.titles == ("Accuracy", "Clips", "By method")
    assert table.heading == ("method", "protocol", "ZSL", "H")
    assert table.rows == (("a", "clean", "40.0 ± 1.0", "20.0"), ("b", "released", "50.0†", "30.0"))


def test_the_newest_file_of_another_day_is_the_earlier_one(repository):
    results = repository / "benchmarks/results"
    (results / f"tables-{date.today()}.md").write_text("of today")
    (results / "tables-2019-01-02.md").write_text("older")
    (results / "tables-more-2021-01-01.md").write_text("another benchmark's")
    assert earlier.earlier("tables").name == "tables-2020-01-02.md"
    assert earlier.earlier("tables").tables == tables_of(OLD)
    assert earlier.earlier("nothing").tables == ()


def test_a_file_that_was_removed_is_read_from_the_history(repository):
    git(repository, "rm", "--quiet", "benchmarks/results/tables-2020-01-02.md")
    git(repository, "commit", "--quiet", "--message", "stale")
    found = earlier.earlier("tables")
    assert (found.name, found.tables) == ("tables-2020-01-02.md", tables_of(OLD))


def test_old_numbers_stand_beside_the_new_ones():
    (old,) = tables_of(OLD)
    heading, rows = ("method", "protocol", "ZSL", "AUSUC"), [("a", "clean", "41.0", "7"), ("c", "clean", "1.0", "2")]
    text = beside_earlier(heading, rows, old, lambda row: tuple(row[:2]), labels=2)
    assert text.splitlines() == [
        "| method | protocol | ZSL | before | AUSUC | before |",
        "| --- | --- | --- | --- | --- | --- |",
        "| a | clean | 41.0 | 40.0 ± 1.0 | 7 |  |",
        "| c | clean | 1.0 |  | 2 |  |",
        "| b | released |  | 50.0† |  |  |",
    ]
    nothing = beside_earlier(heading, rows, None, lambda row: tuple(row[:2]), labels=2)
    assert "| a | clean | 41.0 |  | 7 |  |" in nothing
    both = (("a", "clean", "", "", "9"), ("a", "clean", "4", "2", ""))  # a paper's row of the same name, and ours
    twice = EarlierTable(old.titles, (*old.heading, "elsewhere"), both)
    again = beside_earlier(heading, rows[:1], twice, lambda row: tuple(row[:2]), labels=2)
    assert again.splitlines()[2:] == ["| a | clean | 41.0 | 4 | 7 |  |"]
