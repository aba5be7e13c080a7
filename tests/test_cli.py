"""What all verbs do with warnings."""

import sys
import warnings

import pytest

from platform import cli
from platform.errors import InputWarning


def test_our_warnings_are_shown_as_a_line_each(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["a verb"])
    others = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *where: others.append(str(message)))
    app = cli.application("Warns.")

    @app.command()
    def warn():
        warnings.warn("features reach down to -3", InputWarning, stacklevel=1)
        warnings.warn("a library's own", DeprecationWarning, stacklevel=1)

    app.info.no_args_is_help = False
    with pytest.raises(SystemExit) as ended:
        cli.run(app, "platform.warn")
    assert ended.value.code == 0
    assert capsys.readouterr().err == "warning: features reach down to -3\n"
    assert others == ["a library's own"]
