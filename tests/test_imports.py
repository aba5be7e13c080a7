"""The order of the house: who imports whom, in functions and for types too, read from the source."""

import ast
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]


def modules(*packages):
    """Each module's name, and its file."""
    found = {}
    for package in packages:
        for file in (ROOT / package).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(name, source, is_package, names):
    """The modules among `names` that a module's source imports.

    `from a.b import c` counts for `a.b.c` where that is a module, else for `a.b`; a package that is passed through on
    the way to a module does not count.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                above = parts[: len(parts) - node.level + is_package]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in names else base)
    return found & set(names)


def imports_of(files, names):
    return {name: imported(name, file.read_text(), file.name == "__init__.py", names) for name, file in files.items()}


def circle(imports):
    """Some modules that import each other around, the first one again at the end; none by default."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_modules_import_each_other():
    files = modules("platform", "methods")
    found = circle(imports_of(files, files))
    assert not found, "a circle of imports: " + " <- ".join(found)


def test_the_platform_imports_no_method():
    elsewhere = modules("methods", "benchmarks", "tests")
    imports = imports_of(modules("platform"), elsewhere)
    assert {name: own for name, own in imports.items() if own} == {}


def test_imports_are_found_wherever_they_stand():
    source = """
import a.b as other
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from a.c import Name
def function():
    from a import d
    from .near import thing
    from . import e
"""
    names = ["a", "a.b", "a.c", "a.d", "a.near", "a.e", "a.f"]
    assert imported("a.f", source, False, names) == {"a.b", "a.c", "a.d", "a.near", "a.e"}
    assert imported("a", source, True, names) == {"a.b", "a.c", "a.d", "a.near", "a.e"}


def test_a_circle_is_told():
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
    assert circle({"a": {"a"}}) == ["a", "a"]


def test_no_two_files_of_tests_have_one_name():
    """pytest imports them by their file's name: the second one of a name stops the collection of all."""
    names = sorted(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, after in pairwise(names) if name == after] == []
