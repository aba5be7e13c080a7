"""One self-contained HTML page: tables, figures and what to cite, readable without the network."""

import html
from collections.abc import Mapping, Sequence

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .4rem; }
.facts { color: GrayText; margin: .2rem 0 1rem; }
figure { margin: 0; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th.group { text-align: center; } .label { text-align: left; }
tbody tr:hover { background: var(--soft); }
ul { margin: .4rem 0; padding-left: 1.2rem; color: GrayText; font-size: .9rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(30rem, 1fr)); gap: 1rem; }
.figures figure { background: white; color: black; padding: .5rem; border-radius: .4rem; }
.figures svg { width: 100%; height: auto; } figcaption { font-size: .9rem; }
pre { overflow-x: auto; font-size: .85rem; background: var(--soft); padding: .8rem; }
"""


def page(
    title: str,
    facts: Sequence[str],
    tables: Sequence[str],
    figures: Mapping[str, str],
    citations: Mapping[str, str],
) -> str:
    """facts: lines below the title; tables: as `formats.hypertext` returns them; figures: SVG by caption; citations:
    BibTeX by method."""
    shown = "".join(f"<figure>{svg}<figcaption>{html.escape(c)}</figcaption></figure>\n" for c, svg in figures.items())
    drawn = f'<h2>Figures</h2>\n<div class="figures">{shown}</div>\n' if figures else ""
    cited = "\n\n".join(citations.values())
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{_STYLE}</style></head>\n<body>\n'
        f"<h1>{html.escape(title)}</h1>\n"
        + "".join(f'<p class="facts">{html.escape(fact)}</p>\n' for fact in facts)
        + "\n".join(tables)
        + drawn
        + f"<h2>Cite</h2>\n<pre>{html.escape(cited)}</pre>\n</body></html>\n"
    )
