"""The script for a machine with a GPU and little else: what it imports, what it reports, and when it fails."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from platform.population.adam import PopulationAdam

ROOT = Path(gpu.__file__).parents[1]
HIDING_THE_OTHERS = """
import json, runpy, sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

class Only(PathFinder):
    found = set()

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in allowed and not top.startswith("_sysconfigdata"):  # the standard library's own, one a platform
            return None
        cls.found.add(top)
        return super().find_spec(name, path, target)

allowed, named = {*sys.stdlib_module_names, *json.loads(sys.argv.pop(1))}, set(json.loads(sys.argv.pop(1)))
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Only]
try:
    runpy.run_module("benchmarks.gpu", run_name="__main__")
finally:
    print("imported", json.dumps(sorted(Only.found & named & set(sys.modules))))
"""


def named(distribution_name):
    return re.sub("[-_.]+", "-", distribution_name).lower()


def required_by(name, found):
    """Names of a distribution and of all that it requires, added to `found`."""
    try:
        requirements = distribution(name).requires or []
    except PackageNotFoundError:
        return found
    found.add(named(name))
    for requirement in requirements:
        needed = re.match(r"[\w.-]+", requirement)[0]
        if "extra ==" not in requirement and named(needed) not in found:
            required_by(needed, found)
    return found


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A small run on the CPU where torch, what torch requires and the named packages are all that can be imported."""
    folder = tmp_path_factory.mktemp("out")
    of_torch = required_by("torch", set())
    tops = {top for top, names in packages_distributions().items() if {named(name) for name in names} & of_torch}
    allowed = [*sorted(tops), *gpu.NEEDED, "methods", "benchmarks"]
    arguments = [json.dumps(allowed), json.dumps([n for n in gpu.NEEDED if n not in tops])]
    done = subprocess.run(
        [sys.executable, "-c", HIDING_THE_OTHERS, *arguments, "--small", "--device", "cpu", "--out", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=570,
    )
    return done, folder


@pytest.mark.slow
def test_it_runs_with_torch_and_the_named_packages_alone(small_run):
    done, _ = small_run
    assert done.returncode == 0, done.stderr + done.stdout
    imported = json.loads(re.search(r"^imported (.*)$", done.stdout, re.M)[1])
    assert imported == sorted(gpu.NEEDED)
    assert all(re.search(rf"\b{name}\b", gpu.__doc__) for name in gpu.NEEDED)


@pytest.mark.slow
def test_every_part_reports(small_run):
    done, folder = small_run
    (written,) = folder.iterdir()
    text = written.read_text()
    assert text in done.stdout
    assert text.startswith("# A GPU's results, speed and precision: cpu\n\n- commit ")
    assert "Nothing failed." in text
    assert "Left out" not in text
    rows = {
        title: len(re.findall(r"^\| ", body, re.M)) - 2
        for title, body in re.findall(r"## (\d).*?\n(.*?)(?=\n## |\Z)", text, re.S)
    }
    assert rows == {"1": 9, "2": 4, "3": 2 * 6 + 2 * 3, "4": 2 * 2 * 2}


def run_with(minutes):
    return gpu.Run(torch.device("cpu"), gpu.SMALL, gpu.Clock(60 * minutes))


def test_what_no_longer_fits_is_named():
    parts, kept = gpu.parts_of(gpu.SMALL), []
    gpu.measured(run_with(0), parts, lambda: kept.append(1))
    assert len(kept) == 4
    for _, part in parts:
        assert "Left out, for want of time: all of it." in part.text
        assert not part.failures


def test_a_part_that_breaks_off_fails_and_the_others_run():
    def broken(run, part):
        part.rows.append([1])
        raise RuntimeError("CUDA error: an illegal memory access\nmore")

    def sound(run, part):
        part.rows.append([2])

    parts = [(broken, gpu.Part("broken", ["a"])), (sound, gpu.Part("sound", ["a"]))]
    gpu.measured(run_with(8), parts, lambda: None)
    assert "| 1 |\n\nFailed: it broke off with RuntimeError: CUDA error: an illegal memory access." in parts[0][1].text
    assert parts[1][1].rows == [[2]]
    assert not parts[1][1].failures
    assert gpu.verdict([part for _, part in parts]).startswith("Failed: 1.\n- broken: it broke off")


def test_a_failure_is_the_exit_code(monkeypatch, tmp_path, capsys):
    def failing(run, part):
        part.failures.append("1 is not 2")

    monkeypatch.setattr(gpu, "parts_of", lambda sizes: [(failing, gpu.Part("numbers", ["a"]))])
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--out", str(tmp_path), "--commit", "abc"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 1
    assert "- commit abc\n" in capsys.readouterr().out


def test_a_wrong_rate_of_one_member_is_found(monkeypatch):
    right = PopulationAdam._step_together

    def wrong(self, gradients, active):
        self._rates[2] *= 1.02
        right(self, gradients, active)
        self._rates[2] /= 1.02

    assert gpu.adam_apart(torch.device("cpu"), 20, False) < gpu.ADAM_APART
    monkeypatch.setattr(PopulationAdam, "_step_together", wrong)
    assert gpu.adam_apart(torch.device("cpu"), 20, False) > gpu.ADAM_APART


def test_numbers_that_are_none_are_infinitely_apart():
    assert gpu.ratio(0.0, 0.0) == 0
    assert gpu.ratio(1.0, 0.0) == gpu.ratio(float("nan"), 1.0) == gpu.ratio(1.0, float("nan")) == torch.inf


def test_a_precision_further_away_than_seeds_fails():
    part = gpu.Part("precision", ["a"])
    gpu._judge(part, "ST-GCN", "cross-entropy", "bfloat16", [1.0, 2.0], [1.1, 2.1])
    assert not part.failures
    for other in ([3.0, 4.0], [float("nan"), 2.0]):
        gpu._judge(part, "ST-GCN", "cross-entropy", "bfloat16", [1.0, 2.0], other)
    assert len(part.failures) == 2
