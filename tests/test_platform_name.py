"""The package shadows the standard library's `platform`; both must keep working, however Python was started."""

import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import platform

ROOT = Path(__file__).parents[1]
QUICK = ROOT / "tests" / "population" / "test_schedules.py"


def run(*command, cwd=ROOT):
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_standard_librarys_names_are_all_there():
    source = Path(sysconfig.get_path("stdlib")) / "platform.py"
    spec = importlib.util.spec_from_file_location("the_standard_librarys_platform", source)
    original = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(original)
    assert set(vars(original)) <= set(vars(platform))
    assert platform.uname() == original.uname()
    assert Path(platform.__file__).parent == ROOT / "platform"


@pytest.mark.slow
def test_libraries_and_the_platform_share_the_name():
    code = "import uuid, torch, mlflow, platform, platform.errors; print(platform.system(), platform.errors.InputError)"
    assert run(sys.executable, "-c", code).split() == [platform.system(), "<class", "'platform.errors.InputError'>"]


@pytest.mark.slow
@pytest.mark.parametrize("start", [(sys.executable, "-m", "pytest"), (Path(sys.executable).with_name("pytest"),)])
@pytest.mark.parametrize("inside", [True, False])
def test_pytest_finds_the_platform(start, inside, tmp_path):
    output = run(*start, "-q", "-p", "no:cacheprovider", QUICK, cwd=ROOT if inside else tmp_path)
    assert "passed" in output
