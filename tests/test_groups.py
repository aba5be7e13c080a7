"""Groups of options as a command's signature."""

import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
import typer

from platform import cli
from platform.groups import Expected, Read, grouped


def _numbers(flag, text):
    return tuple(map(int, text.split(",")))


@dataclass(frozen=True)
class Place:
    device: Annotated[str, typer.Option(help="where")] = "auto"


@dataclass(frozen=True)
class Choices(Place):
    kind: Annotated[Literal["a", "b"] | None, typer.Option(help="which")] = None
    how: Annotated[Literal["fast", "well"], typer.Option("--in-a-way"), Expected("fast, or well (slower)")] = "well"
    counts: Annotated[tuple[int, ...], typer.Option(), Read(str, _numbers, "1,2")] = ()
    internal: list = field(default_factory=list)


@pytest.fixture
def run(monkeypatch, capsys):
    """A function of arguments, to the exit code, what the command was given, and what was printed."""
    app, given = cli.application("Takes groups."), []

    @app.command()
    @grouped
    def take(name: Annotated[str, typer.Argument(help="a name")], choices: Choices, quick: bool = False):
        given.append((name, choices, quick))

    def ran(*arguments):
        monkeypatch.setattr(sys, "argv", ["take", *arguments])
        given.clear()
        with pytest.raises(SystemExit) as ended:
            cli.run(app, "platform.take")
        return ended.value.code, list(given), capsys.readouterr()

    return ran


def test_a_command_is_given_whole_groups(run):
    assert run("me")[:2] == (0, [("me", Choices(counts=(1, 2)), False)])
    arguments = ("me", "--device", "cpu", "--kind", "a", "--in-a-way", "fast", "--counts", "3", "--quick")
    assert run(*arguments)[:2] == (0, [("me", Choices("cpu", "a", "fast", (3,)), True)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kind", "c"), "--kind c: expected one of a, b"),
        (("--in-a-way", "badly"), "--in-a-way badly: expected fast, or well (slower)"),
    ],
)
def test_a_choice_is_checked_where_it_is_read(run, arguments, message):
    code, given, printed = run("me", *arguments)
    assert (code, given, printed.err) == (2, [], f"error: {message}\n")


def test_help_shows_what_can_be_given(run):
    code, _, printed = run("--help")
    said = " ".join(printed.out.split())
    assert code == 0
    for words in ("--device <str> where [default: auto]", "--kind <str> which", "--counts <str> [default: 1,2]"):
        assert words in said
    assert "internal" not in said
