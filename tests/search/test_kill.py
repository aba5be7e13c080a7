"""A search whose driver is killed, and goes on: nothing is lost, nothing runs or is recorded twice."""

import json
import os
import random
import signal
import time

import pytest
from verbs import SMALL_SPACE, descendants, ended, events, small_options, started, still_running, tracked_runs, wait_for

from platform.search.search import Search

pytestmark = pytest.mark.slow

TRIALS = [*(f"first-{i:04d}" for i in range(2)), *(f"second-{i:04d}" for i in range(4))]
SEEDS = ["best-seed-0", "best-seed-1"]
RAY_ENDS = 30.0  # seconds that Ray's processes may outlive their driver


@pytest.fixture(scope="module")
def options(small_dataset, tmp_path_factory):
    """What every search here is asked for, but for its runs folder."""
    space = tmp_path_factory.mktemp("space") / "space.yaml"
    space.write_text(SMALL_SPACE)

    def asked(runs):
        return ["methods.sadvae", *small_options(small_dataset, runs, epochs=60), "--space", space, "--seeds", 2]

    return asked


@pytest.fixture(scope="module")
def undisturbed(options, tmp_path_factory):
    """The runs folder of a search that was left alone."""
    runs = tmp_path_factory.mktemp("undisturbed")
    ended(started("tune", *options(runs)))
    return runs


@pytest.fixture
def start():
    """A function that starts a verb; what of it, or of its Ray, outlives the test is ended."""
    drivers, of_ray = [], {}

    def begin(*arguments):
        drivers.append(started("tune", *arguments))
        return drivers[-1]

    def kill(driver):
        """Kill the driver alone, and see its Ray end by itself."""
        of_driver = descendants(driver.pid)
        of_ray.update(of_driver)
        driver.kill()
        driver.wait()
        working = {pid: command for pid, command in of_driver.items() if not command.endswith("Agent")}
        assert any("raylet" in command for command in working.values())
        deadline = time.monotonic() + RAY_ENDS
        while still_running(working):
            assert time.monotonic() < deadline, still_running(working)
            time.sleep(0.1)

    begin.kill = kill
    yield begin
    for driver in drivers:
        driver.kill()
        driver.communicate()
    for pid, _ in still_running(of_ray):  # Ray's agents wait a minute for a raylet that is gone
        os.kill(pid, signal.SIGKILL)


def folder_of(runs):
    (folder,) = runs.glob("tune-sadvae-small-*")
    return folder


def finished(runs):
    """The outcomes that stand in a runs folder, each with what changes when it is written again."""
    paths = runs.glob("tune-*/trials/*/outcomes.json")
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def validation(run):
    return {name: value for name, value in run.data.metrics.items() if name.startswith("validation/")}


def test_a_search_that_is_killed_twice_ends_as_one_left_alone(options, undisturbed, tmp_path, start):
    draw = random.Random(0)
    arguments, survived = options(tmp_path), {}
    for least, most in ((1, 3), (4, 6)):
        ended_trials, seconds = draw.randint(least, most), draw.uniform(0, 0.5)
        driver = start(*arguments)
        wait_for(lambda: len(finished(tmp_path)) >= ended_trials, driver)  # noqa: B023 (called here)
        time.sleep(seconds)
        start.kill(driver)
        assert finished(tmp_path).items() >= survived.items()
        survived = finished(tmp_path)
        arguments = ["--resume", folder_of(tmp_path), "--json"]
    output, _ = ended(start(*arguments))

    assert finished(tmp_path).items() >= survived.items()  # none ran again
    first, second = events(output, "stage")
    assert first["done"] == 2
    assert first["done"] + second["done"] >= len(survived) - 2  # told, or found in its folder when it is asked for
    parent, runs = tracked_runs(folder_of(tmp_path))
    expected_parent, expected = tracked_runs(folder_of(undisturbed))
    assert sorted(runs) == sorted(expected) == sorted([*TRIALS, *SEEDS])
    assert {run.info.status for run in (parent, *runs.values())} == {"FINISHED"}
    assert parent.data.metrics == expected_parent.data.metrics
    for key, run in runs.items():
        assert run.data.params == expected[key].data.params
        assert validation(run) == validation(expected[key]) != {}
    assert len({str(validation(run)) for run in runs.values()}) > 1  # so that to be equal says something
    report = json.loads((folder_of(tmp_path) / "report.json").read_text())
    assert report == json.loads((folder_of(undisturbed) / "report.json").read_text())


def test_ctrl_c_says_how_to_go_on(options, tmp_path, start):
    driver = start(*options(tmp_path))
    wait_for(lambda: finished(tmp_path), driver)
    driver.send_signal(signal.SIGINT)
    _, errors = ended(driver, code=130)
    folder = folder_of(tmp_path)
    assert errors == f"stopped; go on with: python -m platform.tune --resume {folder}\n"
    assert tracked_runs(folder)[0].info.status == "KILLED"

    with Search(folder).locked():
        _, errors = ended(start("--resume", folder), code=2)
    assert errors == f"error: {folder}: another process is running this search\n"

    output, _ = ended(start("--resume", folder, "--json"))
    assert len(events(output, "report")) == 1
    parent, runs = tracked_runs(folder)
    assert sorted(runs) == sorted([*TRIALS, *SEEDS])
    assert {run.info.status for run in (parent, *runs.values())} == {"FINISHED"}


def test_a_search_that_has_ended_is_only_reported_again(undisturbed, start):
    """Nothing is trained, and nothing is left behind but what search.py says that the folder holds."""
    folder = folder_of(undisturbed)
    before = finished(undisturbed)
    output, _ = ended(start("--resume", folder, "--json"))
    assert events(output, "report") == [{"event": "report", **json.loads((folder / "report.json").read_text())}]
    assert finished(undisturbed) == before
    assert {path.name for path in folder.iterdir()} == {
        "search.json", "space.yaml", "study.journal", "lock", "trials", "best", "report.json",
    }  # fmt: skip
