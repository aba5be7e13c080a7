"""A search whose driver is killed, and goes on: nothing is lost, nothing runs or is recorded twice."""

import json
import os
import random
import signal
import time

import pytest
from verbs import SMALL_SPACE, descendants, ended, events, small_options, started, still_running, tracked_runs, wait_for

from platform.files import held

pytestmark = pytest.mark.slow

TRIALS = [*(f"first-{i:04d}" for i in range(2)), *(f"second-{i:04d}" for i in range(4))]
TESTS = ["best-seed-0", "best-seed-1", "best-ensemble-2-seeds", "best-ensemble-best-1", "best-ensemble-best-2"]
RAY_ENDS = 120.0  # seconds that Ray's processes may outlive their driver, on a busy machine
AGENTS = {"ray::DashboardAgent", "ray::RuntimeEnvAgent"}  # these idle for a minute more


@pytest.fixture(scope="module")
def options(small_dataset, tmp_path_factory):
    """What every search here is asked for, but for its runs folder."""
    space = tmp_path_factory.mktemp("space") / "space.yaml"
    space.write_text(SMALL_SPACE)

    def asked(runs):
        return [
            "methods.sadvae",
            *small_options(small_dataset, runs, epochs=30),
            "--space",
            space,
            "--test-seeds",
            2,
            "--ensemble",
            2,
            "--pack",
            2,
        ]

    return asked


@pytest.fixture(scope="module")
def undisturbed(options, tmp_path_factory):
    """The runs folder of a search that was left alone."""
    runs = tmp_path_factory.mktemp("undisturbed")
    ended(started("tune", *options(runs)))
    return runs


class Drivers:
    """Searches' drivers, to start and to kill."""

    def __init__(self):
        self.started, self.of_ray = [], {}

    def start(self, *arguments):
        self.started.append(started("tune", *arguments))
        return self.started[-1]

    def kill(self, driver):
        """Kill the driver alone, and see its Ray end by itself."""
        of_ray = descendants(driver.pid)
        self.of_ray |= of_ray
        driver.kill()
        driver.wait()
        working = {pid: command for pid, command in of_ray.items() if command not in AGENTS}
        assert any("raylet" in command for command in working.values())
        deadline = time.monotonic() + RAY_ENDS
        while still_running(working):
            assert time.monotonic() < deadline, still_running(working)
            time.sleep(0.1)

    def clean_up(self):
        for driver in self.started:
            driver.kill()
            driver.communicate()
        for pid, _ in still_running(self.of_ray):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def drivers():
    several = Drivers()
    yield several
    several.clean_up()


def folder_of(runs):
    (folder,) = runs.glob("tune-sadvae-small-*")
    return folder


def finished(runs):
    """The outcomes that stand in a runs folder, each with what changes when it is written again."""
    paths = runs.glob("tune-*/trials/*/outcomes.json")
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def validation(run):
    return {name: value for name, value in run.data.metrics.items() if name.startswith("validation/")}


def test_a_search_that_is_killed_twice_ends_as_one_left_alone(options, undisturbed, tmp_path, drivers):
    draw = random.Random(0)
    arguments, survived = options(tmp_path), {}
    for least, most in ((1, 3), (4, 6)):
        trials = max(draw.randint(least, most), len(survived) + 1)
        driver = drivers.start(*arguments)
        wait_for(lambda: len(finished(tmp_path)) >= trials, driver)  # noqa: B023 (called here)
        time.sleep(draw.uniform(0, 0.5))
        drivers.kill(driver)
        assert finished(tmp_path).items() >= survived.items()
        survived = finished(tmp_path)
        arguments = ["--resume", folder_of(tmp_path), "--json"]
    output, _ = ended(drivers.start(*arguments))

    assert finished(tmp_path).items() >= survived.items()  # none ran again
    first, second, _ = events(output, "stage")  # the third: the test of the best
    assert first["done"] == 2
    assert first["done"] + second["done"] >= len(survived) - 2  # told, or found in its folder when it is asked for
    parent, runs = tracked_runs(folder_of(tmp_path))
    expected_parent, expected = tracked_runs(folder_of(undisturbed))
    assert sorted(runs) == sorted(expected)
    assert {*TRIALS, "best-ensemble-2-seeds"} < set(runs) < {*TRIALS, *TESTS}  # one of the two ensembles of the best
    assert len(runs) == len(TRIALS) + len(TESTS) - 1
    assert {run.info.status for run in (parent, *runs.values())} == {"FINISHED"}
    assert parent.data.metrics == expected_parent.data.metrics
    for key, run in runs.items():
        assert run.data.params == expected[key].data.params
        assert validation(run) == validation(expected[key]) != {}
    assert len({str(validation(run)) for run in runs.values()}) > 1  # so that to be equal says something
    report = json.loads((folder_of(tmp_path) / "report.json").read_text())
    assert report == json.loads((folder_of(undisturbed) / "report.json").read_text())


def test_ctrl_c_says_how_to_go_on(options, tmp_path, drivers):
    driver = drivers.start(*options(tmp_path))
    wait_for(lambda: finished(tmp_path), driver)
    driver.send_signal(signal.SIGINT)
    _, errors = ended(driver, code=130)
    folder = folder_of(tmp_path)
    assert errors == f"stopped; go on with: python -m platform.tune --resume {folder}\n"
    assert tracked_runs(folder)[0].info.status == "KILLED"

    with held(folder):
        _, errors = ended(drivers.start("--resume", folder), code=2)
    assert errors == f"error: {folder}: another process is at work there\n"

    output, _ = ended(drivers.start("--resume", folder, "--json"))
    assert len(events(output, "report")) == 1
    parent, runs = tracked_runs(folder)
    assert len(runs) == len(TRIALS) + len(TESTS) - 1
    assert {run.info.status for run in (parent, *runs.values())} == {"FINISHED"}


def test_a_search_that_has_ended_is_only_reported_again(undisturbed, drivers):
    """Nothing is trained, and nothing is left behind but what search.py says that the folder holds."""
    folder = folder_of(undisturbed)
    before = finished(undisturbed)
    output, _ = ended(drivers.start("--resume", folder, "--json"))
    assert events(output, "report") == [{"event": "report", **json.loads((folder / "report.json").read_text())}]
    assert finished(undisturbed) == before
    assert {path.name for path in folder.iterdir()} == {
        "search.json", "space.yaml", "earlier.json", "study.journal", ".lock", "trials", "packs", "best", "report.json",
    }  # fmt: skip
