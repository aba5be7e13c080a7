"""Which space a method is searched in, and what is said where there is none."""

import sys
import textwrap

import pytest
import yaml

from platform.errors import InputError
from platform.search import finding
from platform.setup import ConfiguredMethod

SPACE = """
source: a test
stages:
  - name: only
    trials: 3
    sampled:
      learning_rate: {log_uniform: [1.0e-3, 1.0e-2]}
"""
METHOD = """
from pydantic import Field

from methods.eszsl import ESZSL
from platform.configuration import searched
from platform.learning.module_method import ModuleConfig
from platform.method import MethodConfig, ScoringConfig


class MyConfig(CONFIG):
    FIELDS


class MyMethod(ESZSL):
    Config = MyConfig


method = MyMethod()
"""


@pytest.fixture
def laboratory(tmp_path, monkeypatch):
    """A function of a module's name and its Config's fields and base: a method from elsewhere, and its folder."""
    folder = tmp_path / "my_lab"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def made(name="my_method", fields="pass", config="ModuleConfig"):
        (folder / f"{name}.py").write_text(METHOD.replace("CONFIG", config).replace("FIELDS", fields))
        return folder

    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]


def written(path, learning_rate, below=None):
    space = yaml.safe_load(SPACE)
    space["stages"][0]["sampled"]["learning_rate"] = {"log_uniform": [learning_rate, 1.0]}
    path.write_text(yaml.safe_dump({**space, **({"below": below} if below else {})}, sort_keys=False))
    return path


def find_space(name, *asked):
    return finding.find_space(ConfiguredMethod.of(name, {}), *asked)


def lowest(found):
    return found.space.stages[0].sampled["learning_rate"].log_uniform[0]


def test_a_given_file_comes_before_all_others(tmp_path):
    given = written(tmp_path / "mine.yaml", 0.125)
    found = find_space("methods.sadvae", given, 2000)
    assert (lowest(found), found.name, found.why) == (0.125, "mine.yaml", f"{given}: given")
    assert found.text == given.read_text()


@pytest.mark.parametrize("name", ["sadvae", "synse", "cadavae", "revise", "jpose", "smie", "claster", "erpcnet"])
def test_few_samples_get_the_space_that_is_made_for_them(name):
    small = find_space(f"methods.{name}", None, 2000)
    assert small.name == f"{name}_small.yaml"
    assert small.why == (
        f"search_spaces/{name}_small.yaml: for fewer than {small.space.below:,} training samples; here are 2,000"
    )
    assert small.text.startswith("# For data sets of a few ")
    assert find_space(f"methods.{name}", None, small.space.below - 1).name == f"{name}_small.yaml"
    usual = find_space(f"methods.{name}", None, small.space.below)
    assert (usual.name, usual.why) == (f"{name}.yaml", f"search_spaces/{name}.yaml: the method's own")


@pytest.mark.parametrize("name", ["eszsl", "ridge"])
def test_a_method_with_one_space_has_it_for_any_data(name):
    assert find_space(f"methods.{name}", None, 10).why == f"search_spaces/{name}.yaml: the method's own"


def test_a_method_from_elsewhere_has_its_file_beside_its_module(laboratory):
    folder = laboratory(fields="hidden: int = searched(256, choice=[128, 256], description='width')")
    assert find_space("my_lab.my_method", None, 2000).name == "MyConfig"
    usual = written(folder / "my_method.yaml", 0.25)
    found = find_space("my_lab.my_method", None, 2000)
    assert (lowest(found), found.why) == (0.25, f"{usual}: beside the method's module")
    small = written(folder / "my_method_small.yaml", 0.5, below=1000)
    assert lowest(find_space("my_lab.my_method", None, 2000)) == 0.25
    found = find_space("my_lab.my_method", None, 999)
    assert (lowest(found), found.why) == (0.5, f"{small}: for fewer than 1,000 training samples; here are 999")


def test_a_file_of_search_spaces_comes_before_one_beside_the_module(laboratory, tmp_path, monkeypatch):
    spaces = tmp_path / "search_spaces"
    spaces.mkdir()
    monkeypatch.setattr("platform.search.finding.SPACES", spaces)
    written(laboratory() / "my_method.yaml", 0.25)
    written(spaces / "my_method.yaml", 0.125)
    assert lowest(find_space("my_lab.my_method", None, 2000)) == 0.125


def test_a_method_from_elsewhere_does_not_get_the_file_of_a_repositorys_method(laboratory):
    laboratory("ridge")
    assert find_space("my_lab.ridge", None, 2000).name == "MyConfig"


def test_the_fields_of_a_config_say_what_is_searched(laboratory):
    fields = """
    hidden: int = searched(256, integer=[64, 512, 64], ge=1, description="width")
    margin: float = searched(0.3, uniform=[0.1, 0.5], description="of the loss")
    kind: str = searched("a", choice=["a", "b"], description="of the loss")
    """
    laboratory(fields=textwrap.indent(textwrap.dedent(fields), "    ").strip())
    found = find_space("my_lab.my_method", None, 2000)
    assert found.why == "the fields of MyConfig that say a range: learning_rate, hidden, margin, kind"
    (stage,) = found.space.stages
    assert stage.sampled["learning_rate"].log_uniform == (1e-4, 1e-2)
    assert stage.sampled["hidden"].integer == (64, 512, 64)
    assert stage.sampled["margin"].uniform == (0.1, 0.5)
    assert stage.sampled["kind"].choice == ("a", "b")
    assert yaml.safe_load(found.text)["source"] == "the fields of my_lab.my_method: MyConfig"


def test_what_set_gives_is_not_searched(laboratory):
    laboratory(fields='hidden: int = searched(256, choice=[128, 256], description="width")')
    found = find_space("my_lab.my_method", None, 2000, {"learning_rate": 1e-3})
    assert found.why == "the fields of MyConfig that say a range: hidden"


@pytest.mark.parametrize(
    ("declared", "ends"),
    [("Field(0.5, gt=0)", (0.05, 5.0)), ("Field(0.5, gt=0, le=1)", (0.05, 0.5)), ("Field(0.5, ge=0.5)", (0.5, 5.0))],
)
def test_without_a_range_the_learning_rate_is_searched_and_that_is_said(laboratory, declared, ends):
    laboratory(fields=f"learning_rate: float = {declared}", config="MethodConfig")
    found = find_space("my_lab.my_method", None, 2000)
    assert found.space.stages[0].sampled["learning_rate"].log_uniform == ends
    assert found.why == (
        f"learning_rate alone, {ends[0]:g} to {ends[1]:g}, since no field of MyConfig says a range "
        "(platform.configuration.searched) and there is no space file"
    )


MENDED = (
    "give a file with --space, put my_method.yaml beside the module, or let fields of MyConfig say a range "
    "(platform.configuration.searched)"
)


@pytest.mark.parametrize(
    ("fields", "config", "assigned", "message"),
    [
        ("pass", "ScoringConfig", {}, f"my_lab.my_method: nothing says what is searched: {MENDED}"),
        (
            "learning_rate: str = 'slow'",
            "MethodConfig",
            {},
            f"my_lab.my_method: nothing says what is searched: {MENDED}",
        ),
        (
            "pass",
            "ModuleConfig",
            {"learning_rate": 1e-3},
            f"my_lab.my_method: --set gives all that could be searched: {MENDED}",
        ),
        (
            "hidden: int = searched(256, uniform=[1, 2], description='width')",
            "ModuleConfig",
            {},
            "my_lab.my_method: MyConfig: stage `fields`: `hidden` is an integer; sample it with integer or choice, not "
            "uniform",
        ),
        (
            "rate: float = searched(0.1, log_uniform=[0.1, 10], le=1, description='of decay')",
            "ModuleConfig",
            {},
            "my_lab.my_method: MyConfig: stage `fields`: rate=10.0: input should be less than or equal to 1 (of decay)",
        ),
        (
            "rate: float = searched(0.1, description='of decay')",
            "ModuleConfig",
            {},
            "my_lab.my_method: MyConfig: stages.0.sampled.rate: Value error, expected exactly one of uniform, "
            "log_uniform, integer, choice, same_as",
        ),
    ],
)
def test_what_cannot_be_searched_is_one_line(laboratory, fields, config, assigned, message):
    laboratory(fields=fields, config=config)
    with pytest.raises(InputError) as refused:
        find_space("my_lab.my_method", None, 2000, assigned)
    assert str(refused.value) == message


def test_a_small_file_says_for_which_data_it_is(laboratory):
    small = written(laboratory() / "my_method_small.yaml", 0.25)
    with pytest.raises(InputError) as refused:
        find_space("my_lab.my_method", None, 2000)
    assert str(refused.value) == f"{small}: below is missing; give the training samples below which it is chosen"


def test_a_file_that_was_found_is_checked_as_one_that_was_given(laboratory):
    path = laboratory() / "my_method.yaml"
    path.write_text(SPACE.replace("learning_rate", "learning_rat"))
    with pytest.raises(InputError, match=f"^{path}: stage `only`: unknown field `learning_rat` of MyConfig"):
        find_space("my_lab.my_method", None, 2000)
