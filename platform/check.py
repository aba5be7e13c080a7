"""Check that a method fulfils the contract: `python -m platform.check my_lab.my_method`."""

from typing import Annotated

import typer
from rich.table import Table

from platform import cli, options
from platform.errors import InputError
from platform.groups import grouped

app = cli.application(__doc__)
_SAID = {"kept": "kept", "broken": "BROKEN", "not offered": "not offered"}


@app.command(no_args_is_help=True)
@grouped
def check(
    method: Annotated[str, typer.Argument(help="module of the method, such as my_lab.my_method", metavar="METHOD")],
    fields: options.FieldOptions,
    as_json: options.Json = False,
) -> None:
    """Check every rule of the method contract on a small synthetic problem; exit code 2 where one is broken.

    Epochs are 3 and batches of 8 unless --set says otherwise; give a large network small widths by --set, too.
    """
    from platform.learning.conformance import examine

    broken = 0
    table = Table("promise", "", "", title=method)
    for finding in examine(method, fields.values, fields.preset):
        broken += finding.status == "broken"
        if as_json:
            cli.event("finding", {"check": finding.check, "status": finding.status, "said": finding.said})
        table.add_row(finding.check, _SAID[finding.status], finding.said)
    if not as_json:
        cli.console.print(table)
    if broken:
        raise InputError(f"{method}: {broken} of its promises are broken")


if __name__ == "__main__":
    cli.run(app, "platform.check")
