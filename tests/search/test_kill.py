"""A search whose driver is killed, and goes on: nothing is lost, nothing runs or is recorded twice."""

import json
import random
import signal
import time

import pytest
from verbs import SMALL_SPACE, descendants, ended, events, small_options, started, still_running, tracked_runs, wait_for

from platform.search.search import Search

pytestmark = pytest.mark.slow

TRIALS = [*(f"first-{i:04d}" for i in range(2)), *(f"second-{i:04d}" for i in range(4))]
SEEDS = ["best-seed-0", "best-seed-1"]
RAY_ENDS = 30.0  # seconds after its driver


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
def processes():
    """A list of started verbs; whatever of them and of their Ray still lives after the test is ended."""
    several = []
    yield several
    for process in several:
        process.kill()
        process.communicate()


def folder_of(runs):
    (folder,) = runs.glob("tune-sadvae-small-*")
    return folder


def finished(runs):
    """The outcomes that stand in a runs folder, each with what changes when it is written again."""
    paths = runs.glob("tune-*/trials/*/outcomes.json")
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def validation(run):
    return {name: value for name, value in run.data.metrics.items() if name.startswith("validation/")}


def test_a_search_that_is_killed_twice_ends_as_one_left_alone(options, undisturbed, tmp_path, processes):
    draw = random.Random(0)
    moments = [draw.randint(1, 3), draw.randint(4, 6)]  # finished trials at which the driver is killed, and then:
    pause = [draw.uniform(0, 0.5) for _ in moments]
    arguments = options(tmp_path)
    survived = {}
    for trials, seconds in zip(moments, pause, strict=True):
        driver = started("tune", *arguments)
        processes.appended(driver)
        wait_for(lambda: len(finished(tmp_path)) >= trials, driver)  # noqa: B023 (called here)
        time.sleep(seconds)
        of_ray = descendants(driver.pid)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert finished(tmp_path).items() >= survived.items()
        deadline = time.monotonic() + RAY_ENDS
        while still_running(of_ray):
            assert time.monotonic() < deadline, still_running(of_ray)
            time.sleep(0.1)
        survived = finished(tmp_path)
        arguments = ["--resume", folder_of(tmp_path), "--json"]
    driver = started("tune", *arguments)
    processes.appended(driver)
    output, _ = ended(driver)

    assert finished(tmp_path).items() >= survived.items()  # none ran again
    first, second = events(output, "stage")
    assert first["done"] == 2
    assert first["done"] + second["done"] >= len(survived) - 2  # told, or found in its folder when it is asked for
    runs, expected = tracked_runs(tmp_path), tracked_runs(undisturbed)
    parent, expected_parent = folder_of(tmp_path).name, folder_of(undisturbed).name
    assert set(runs) == {parent, *TRIALS, *SEEDS}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    for key in (*TRIALS, *SEEDS):
        assert runs[key].data.tags["mlflow.parentRunId"] == runs[parent].info.run_id
        assert runs[key].data.params == expected[key].data.params
        assert validation(runs[key]) == validation(expected[key]) != {}
    assert runs[parent].data.metrics == expected[expected_parent].data.metrics
    report = json.loads((folder_of(tmp_path) / "report.json").read_text())
    assert report == json.loads((folder_of(undisturbed) / "report.json").read_text())


def test_ctrl_c_says_how_to_go_on(options, tmp_path, processes):
    driver = started("tune", *options(tmp_path))
    processes.appended(driver)
    wait_for(lambda: finished(tmp_path), driver)
    driver.send_signal(signal.SIGINT)
    _, errors = ended(driver, code=130)
    folder = folder_of(tmp_path)
    assert errors == f"stopped; go on with: python -m platform.tune --resume {folder}\n"
    assert tracked_runs(tmp_path)[folder.name].info.status == "KILLED"

    with Search(folder).locked():
        _, errors = ended(started("tune", "--resume", folder), code=2)
    assert errors == f"error: {folder}: another process is running this search\n"

    output, _ = ended(started("tune", "--resume", folder, "--json"))
    assert len(events(output, "report")) == 1
    runs = tracked_runs(tmp_path)
    assert set(runs) == {folder.name, *TRIALS, *SEEDS}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_a_search_that_has_ended_is_only_reported_again(undisturbed, tmp_path):
    """Its folder may be moved: nothing is trained, and nothing left behind but what it says it holds."""
    folder = folder_of(undisturbed)
    before = finished(undisturbed)
    output, _ = ended(started("tune", "--resume", folder, "--json"))
    assert events(output, "report") == [{"event": "report", **json.loads((folder / "report.json").read_text())}]
    assert finished(undisturbed) == before
    assert {path.name for path in folder.iterdir()} == {
        "search.json", "space.yaml", "study.journal", "lock", "trials", "best", "report.json",
    }  # fmt: skip
