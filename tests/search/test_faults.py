"""Searches that lose what they stand on: workers, the driver, a machine, the disk, the store. Each ends whole."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from contextlib import contextmanager, suppress

import optuna
import pytest
import torch
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from verbs import PATIENCE, SMALL_FIELDS, ended, events, invoked, started, wait_for

from platform import runtime
from platform.datasets.text import ClassText
from platform.files import NotWritable
from platform.search.search import Search
from platform.tracking.record import KEY_TAG, PARENT_TAG
from platform.tracking.store import open_store
from platform.training.saved_models import load_model
from platform.training.trainable import Experiment, read_outcomes, train
from platform.zeroshot.problem import ProblemOptions

pytestmark = pytest.mark.slow

EPOCHS = 24
BETAS = (0.01, 0.02, 0.05, 0.1)
SOON = 0.1  # seconds between checkpoints, and of an epoch
LAB = '''
"""SA-DVAE whose epochs are slow and written down, and whose members may end their process."""

import os
import time
from pathlib import Path

from pydantic import Field

from methods.sadvae import SADVAE, SADVAEConfig, SADVAEModel
from platform.method import Population

ACCOUNT = Path(__file__).with_name("epochs.txt")


class Config(SADVAEConfig):
    seconds: float = Field(0.0, ge=0, description="that an epoch lasts longer")
    deadly: bool = Field(False, description="ends its process after three epochs")


class Watched(Population):
    def __init__(self, members, population):
        self.members, self.population = members, population
        self.models, self.states = population.models, population.states

    def train_epoch(self):
        losses = self.population.train_epoch()
        epochs = [int(state["epoch"]) for state in self.states(range(len(self.members)))]
        with ACCOUNT.open("a") as account:
            for member, epoch in zip(self.members, epochs, strict=True):
                print(os.getpid(), member.config.beta_x, member.seed, epoch, file=account)
        if any(member.config.deadly and epoch == 3 for member, epoch in zip(self.members, epochs, strict=True)):
            os._exit(1)
        time.sleep(max(member.config.seconds for member in self.members))
        return losses

    models = states = None  # the population's own, once it is made


class WatchedModel(SADVAEModel):
    @classmethod
    def from_state(cls, tensors, values):
        config = {n: v for n, v in values["config"].items() if n in SADVAEConfig.model_fields}
        return super().from_state(tensors, {**values, "config": config})


class WatchedSADVAE(SADVAE):
    Config, Model = Config, WatchedModel

    def population(self, members, workers):
        return Watched(members, super().population(members, workers))


method = WatchedSADVAE()
'''


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder with a user's method, which processes that start from now on will find."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "watched_lab.py").write_text(LAB)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder))
        yield folder


@pytest.fixture(scope="module")
def machines(lab):
    """A Ray cluster of the driver's machine, without CPUs for trials, and one that has one. Tests may exchange it."""
    import ray
    from ray.cluster_utils import Cluster

    others = ray.is_initialized()
    ray.shutdown()
    quick = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    cluster = Cluster(True, head_node_args={"num_cpus": 0, "_system_config": quick})
    cluster.add_node(num_cpus=1)
    runtime.connect(cluster.address)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    if others:
        runtime.connect()


class Account:
    """What the lab's method wrote down of a search's validation epochs."""

    def __init__(self, path):
        self.path = path
        path.write_text("")

    def epochs(self):
        """(beta_x, seed) to process to epochs, in the order in which they came."""
        found = defaultdict(lambda: defaultdict(list))
        for line in self.path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                process, beta, seed, epoch = line.split()
                found[float(beta), int(seed)][int(process)].append(int(epoch))
        return found

    def workers(self):
        return list(dict.fromkeys(process for by_process in self.epochs().values() for process in by_process))

    def reached(self, epoch):
        return any(epoch in epochs for by_process in self.epochs().values() for epochs in by_process.values())


@pytest.fixture
def account(lab):
    return Account(lab / "epochs.txt")


@pytest.fixture
def asked(small_dataset, tmp_path):
    """Options of a search of the lab's method that tries some points, one after the other."""

    def make(points, runs=tmp_path / "runs", pack=4, **fields):
        sampled = {name: {"choice": list(dict.fromkeys(p[name] for p in points))} for name in points[0]}
        stage = {"name": "only", "trials": len(points), "sampled": sampled, "points": list(points)}
        space = tmp_path / "space.yaml"
        space.write_text(yaml.safe_dump({"source": "a test", "stages": [stage]}))
        values = {**SMALL_FIELDS, "epochs": EPOCHS, "seconds": SOON, **fields}
        assigned = [part for n, v in values.items() if n not in sampled for part in ("--set", f"{n}={v}")]
        data = ["--dataset", small_dataset, "--split", "two", "--encoder", "attributes", "--runs", runs]
        short = ["--pack", pack, "--test-seeds", 1, "--ensemble", 1, "--protocol", "clean"]
        often = ["--checkpoint-seconds", SOON]
        return ["watched_lab", *data, *assigned, "--space", space, *short, *often]

    return make


def betas():
    return [{"beta_x": beta} for beta in BETAS]


def searched(*arguments, code=0):
    """What a search said, in this process, whose Ray stays."""
    exit_code, output, errors = invoked("tune", *arguments, "--json")
    assert exit_code == code, output + errors
    assert code or not errors
    return output, errors


@contextmanager
def meanwhile(moment, act):
    """Act in the background at a moment that must come while the body runs."""
    acted, over = [], threading.Event()

    def watch():
        while not over.wait(0.02):
            if moment():
                act()
                acted.append(True)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert acted


def folder_of(runs):
    (folder,) = runs.glob("tune-watched_lab-*")
    return folder


def checkpoints(runs):
    return list(runs.glob("tune-*/packs/*/validation-0.safetensors"))


def messages(output):
    return [event["text"] for event in events(output, "message")]


def assert_whole(folder, trials, seeds=1, failed=(), stopped=()):
    """A search that has ended, with each trial once everywhere: in its study, its folder, its report and MLflow."""
    keys = [f"only-{i:04d}" for i in range(trials)]
    study = optuna.load_study(
        study_name="only", storage=JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    )
    states = {f"only-{trial.number:04d}": trial.state for trial in study.trials}
    ends = {**dict.fromkeys(failed, TrialState.FAIL), **dict.fromkeys(stopped, TrialState.PRUNED)}
    assert states == {key: ends.get(key, TrialState.COMPLETE) for key in keys}
    assert sorted(path.parent.name for path in folder.glob("trials/*/outcomes.json")) == keys
    report = json.loads((folder / "report.json").read_text())
    assert (report["trials"], report["failed"], report["stopped"]) == (trials, len(failed), len(stopped))
    assert not list(folder.glob("tune-*"))

    client = open_store(folder.parent)
    runs = client.search_runs([client.get_experiment_by_name("unseen").experiment_id])
    by_id = {run.info.run_id: run for run in runs}

    def path(run):
        above = by_id.get(run.data.tags.get(PARENT_TAG))
        return (*path(above), run.data.tags[KEY_TAG]) if above else (run.data.tags[KEY_TAG],)

    below = [(folder.name, key) for key in [*keys, "best-seed-0"]]
    for key in keys if seeds > 1 else ():
        outcomes = len(read_outcomes(folder / "trials" / key))
        below += [(folder.name, key, f"{key}/two/seed-{seed}") for seed in range(outcomes)]
    assert Counter(map(path, runs)) == Counter([(folder.name,), *below])
    statuses = {path(run): run.info.status for run in runs}
    assert {status for place, status in statuses.items() if place[-1] not in failed} == {"FINISHED"}
    assert {statuses[folder.name, key] for key in failed} <= {"FAILED"}
    return report


def assert_as_alone(folder, keys, seeds=1):
    """What trials came to is what they come to without the rest of the search, and without its faults."""
    outcomes = {key: read_outcomes(folder / "trials" / key) for key in keys}
    configs = {key: {**several[0].config, "seconds": 0.0} for key, several in outcomes.items()}
    search = Search(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = train(search.experiment(configs, range(seeds), test=False), folder.parent / "alone")
    finally:
        torch.set_num_threads(threads)
    for outcome in alone:
        (own,) = [o for o in outcomes[outcome.key] if o.seed == outcome.seed]
        assert own.validation == pytest.approx(outcome.validation, abs=1e-6)
        assert len(own.epochs) == len(outcome.epochs) == EPOCHS
        assert all(a == pytest.approx(b, rel=1e-3) for a, b in zip(own.epochs, outcome.epochs, strict=True))


def assert_went_on(account):
    """Every member, in a second process, from where a checkpoint of the first stood."""
    for by_process in account.epochs().values():
        first, second, *_test = by_process.values()
        assert first[0] == 1
        assert 1 < second[0] <= first[-1] + 1
        assert second[-1] == EPOCHS


def test_a_pack_whose_worker_is_killed_goes_on_from_its_checkpoint(machines, asked, account, tmp_path):
    runs = tmp_path / "runs"

    def kill():
        (worker,) = account.workers()
        os.kill(worker, signal.SIGKILL)

    with meanwhile(lambda: checkpoints(runs) and account.reached(6), kill):
        output, _ = searched(*asked(betas()))
    assert messages(output) == ["pack only-0000 lost its worker; its 4 trials go out again"]
    assert_went_on(account)
    assert_whole(folder_of(runs), trials=4)
    assert_as_alone(folder_of(runs), [f"only-{i:04d}" for i in range(4)])


def test_a_driver_that_is_killed_leaves_its_pack_to_the_next(machines, asked, account, tmp_path):
    runs, keys = tmp_path / "runs", [f"only-{i:04d}" for i in range(6)]
    points = [{"beta_x": beta} for beta in (*BETAS, 0.2, 0.5)]
    halving = ["--stop-early", 2, "--fewest-epochs", 6]
    arguments = [*asked(points, pack=4), "--seeds", 2, *halving, "--json", "--address", machines.address]
    driver = started("tune", *arguments)
    try:
        wait_for(lambda: account.reached(8) and checkpoints(runs), driver)
    finally:
        driver.kill()
        driver.communicate()
    folder, before = folder_of(runs), account.epochs()
    over = {path.parent.name for path in folder.glob("trials/*/outcomes.json")}
    members = json.loads((folder / "packs" / keys[0] / "members.json").read_text())
    assert sorted(members) == sorted(set(keys) - over)
    assert over
    output, _ = searched("--resume", folder)

    stage, _ = events(output, "stage")
    assert stage["done"] == len(over)
    assert messages(output) == []
    assert [path.parent.name for path in folder.glob("packs/*/members.json")] == []
    going_on = {(points[keys.index(key)]["beta_x"], seed) for key in members for seed in range(2)}
    (worker,) = account.workers()[:1]
    again = {member: list(by_process.values())[1:] for member, by_process in account.epochs().items()}
    for member in before:
        if member in going_on:
            assert again[member][0][0] <= before[member][worker][-1] + 1
    assert any(again[member][0][0] > 6 for member in going_on)  # beyond the rung
    status = {key: read_outcomes(folder / "trials" / key)[0].status for key in keys}
    stopped = [key for key in keys if status[key] == "stopped"]
    assert_whole(folder, trials=6, seeds=2, stopped=stopped)
    assert_as_alone(folder, sorted(set(keys) - set(stopped)), seeds=2)


def test_a_pack_whose_machine_is_lost_goes_on_at_another(machines, asked, account, tmp_path):
    runs = tmp_path / "runs"
    driver = started("tune", *asked(betas()), "--json", "--address", machines.address)
    try:
        wait_for(lambda: account.reached(6) and checkpoints(runs), driver)
        machines.remove_node(*machines.worker_nodes, allow_graceful=False)
        machines.add_node(num_cpus=1)
        output, errors = ended(driver)
    finally:
        driver.kill()
        driver.wait()
    assert errors == ""
    assert messages(output) == ["pack only-0000 lost its worker; its 4 trials go out again"]
    assert_went_on(account)
    assert_whole(folder_of(runs), trials=4)
    assert_as_alone(folder_of(runs), [f"only-{i:04d}" for i in range(4)])


def test_a_member_that_diverges_fails_alone(machines, asked, account, tmp_path):
    points = [{"learning_rate": rate} for rate in (0.01, 1e30, 0.005, 0.02)]
    output, _ = searched(*asked(points, seconds=0.0))
    assert messages(output) == []
    folder = folder_of(tmp_path / "runs")
    (failed,) = read_outcomes(folder / "trials" / "only-0001")
    assert failed.reason == "its losses were no longer finite in validation; a smaller learning_rate may help"
    assert_whole(folder, trials=4, failed=["only-0001"])
    assert_as_alone(folder, ["only-0000", "only-0002", "only-0003"])


def test_a_configuration_that_kills_its_worker_fails_alone(machines, asked, account, tmp_path):
    points = [{"beta_x": beta, "deadly": beta == 0.02} for beta in BETAS[:3]]
    output, _ = searched(*asked(points, pack=2, seconds=0.0))
    folder = folder_of(tmp_path / "runs")
    (failed,) = read_outcomes(folder / "trials" / "only-0001")
    assert failed.reason == "its worker was lost again and again"
    again = ["pack only-0000 lost its worker; its 2 trials go out again"]
    assert messages(output) == 2 * again
    assert_whole(folder, trials=3, failed=["only-0001"])
    assert_as_alone(folder, ["only-0000", "only-0002"])


def test_data_that_are_away_in_mid_search_are_no_trials_fault(machines, asked, account, small_dataset, tmp_path):
    runs, data, away = tmp_path / "runs", tmp_path / "data", tmp_path / "away"
    shutil.copytree(small_dataset, data)
    points = [{"batch_size": size} for size in (16, 24, 32, 48)]  # each trains alone, and reads the data for itself
    arguments = [data if part == small_dataset else part for part in asked(points)]
    with meanwhile(lambda: account.reached(6), lambda: data.rename(away)):
        _, errors = searched(*arguments, code=2)
    folder = folder_of(runs)
    line, error = errors.splitlines()
    assert line == f"go on with: python -m platform.tune --resume {folder}"
    assert error.startswith(f"error: {data} is no data folder")
    assert error.endswith("no trial is to blame: mend it, and go on with --resume")
    ended_before = [path.parent.name for path in folder.glob("trials/*/outcomes.json")]
    assert ended_before == ["only-0000"]
    _, errors = searched("--resume", folder, code=2)  # too early
    assert f"{data} is no data folder" in errors

    away.rename(data)
    output, _ = searched("--resume", folder)
    stage, _ = events(output, "stage")
    assert stage["done"] == 1
    assert_whole(folder, trials=4)
    assert_as_alone(folder, [f"only-{i:04d}" for i in range(4)])


class Disk:
    """A small one."""

    def __init__(self, folder):
        self.folder = folder

    def fill(self):
        with (self.folder / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
            while True:
                ballast.write(bytes(4096))

    def make_room(self):
        (self.folder / "ballast").unlink()


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk that is small enough to fill")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("often", [SOON], ids=["a worker"])
def test_a_search_whose_disk_is_full_goes_on_once_there_is_room(machines, asked, account, disk, often):
    """Found when a worker writes its next checkpoint or, without one, when the driver writes what came out."""
    runs = disk.folder / "runs"
    with meanwhile(lambda: account.reached(6) and (checkpoints(runs) or often > SOON), disk.fill):
        _, errors = searched(*asked(betas(), runs), "--checkpoint-seconds", often, code=2)
    folder = folder_of(runs)
    line, error = errors.splitlines()
    assert line == f"go on with: python -m platform.tune --resume {folder}"
    assert error.startswith(f"error: {folder}")
    assert "cannot be written" in error
    assert "No space left" in error

    disk.make_room()
    with (folder / "study.journal").open("ab") as journal:
        journal.write(b'{"op_code": 6, "wor')  # what a full disk leaves of a line
    searched("--resume", folder)
    if often == SOON:
        assert_went_on(account)
    assert_whole(folder, trials=4)
    assert_as_alone(folder, [f"only-{i:04d}" for i in range(4)])


def test_models_that_find_no_room_are_written_later(lab, small_dataset, disk):
    experiment = Experiment(
        method="watched_lab",
        problem=ProblemOptions(dataset=small_dataset, split="two", text=ClassText(encoder="attributes")),
        configs=({**SMALL_FIELDS, "epochs": 2},),
        seeds=(0,),
        test=True,
    )
    folder = disk.folder / "best"
    folder.mkdir()
    disk.fill()
    with pytest.raises(NotWritable, match=f"{folder}.* cannot be written .*No space left"):
        train(experiment, folder)
    disk.make_room()
    (outcome,) = train(experiment, folder)
    assert {path.name for path in (folder / "models").iterdir()} == {"0-clean", "0-released", "0-held-out.safetensors"}
    assert load_model(folder / outcome.models["clean"])


class Store:
    """An MLflow server."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri, self.folder = f"http://127.0.0.1:{self.port}", folder
        self.start()

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--port", self.port, "--workers", 1]
        places = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--artifacts-destination", self.folder]
        self.server = subprocess.Popen(
            [str(part) for part in (*command, *places)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self):
        wait_for(self.answers, self.server)

    def answers(self):
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
            return answer.status == 200
        return False

    def stop(self):
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()


@pytest.fixture
def store(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    folder.mkdir()
    running = Store(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", running.uri)
    running.wait()
    yield running
    running.stop()


def test_a_search_waits_for_its_store(machines, store, asked, account, caplog, tmp_path):
    runs = tmp_path / "runs"

    def interrupt():
        store.stop()
        deadline = time.monotonic() + PATIENCE
        while "the MLflow store does not answer" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        store.start()

    with meanwhile(lambda: account.reached(6), interrupt):
        searched(*asked(betas()), "--seeds", 2)
    assert_whole(folder_of(runs), trials=4, seeds=2)
    assert_as_alone(folder_of(runs), [f"only-{i:04d}" for i in range(4)], seeds=2)
