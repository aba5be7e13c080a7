import json
import signal

import pytest
from verbs import (
    SMALL_FIELDS,
    ended,
    events,
    invoked,
    small_options,
    started,
    tracked_runs,
    wait_for,
    write_small_dataset,
)

from platform import runtime
from platform.data_parallel import gpus_of_each
from platform.datasets.text import ClassText
from platform.errors import InputError
from platform.training.trainable import Experiment, read_outcomes
from platform.training.workers import train_on_workers
from platform.zeroshot.problem import ProblemOptions


@pytest.fixture(scope="module")
def small_dataset(tmp_path_factory):
    return write_small_dataset(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One runs folder for all tests that train: making its MLflow store takes seconds."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def trained(small_dataset, runs):
    """The folder of a training of three seeds, and what it said with `--json`."""
    options = small_options(small_dataset, runs, epochs=3)
    code, output, errors = invoked("train", "methods.sadvae", *options, "--seeds", 3, "--seed", 5, "--json")
    assert code == 0
    assert all(line.startswith("warning: ") for line in errors.splitlines())  # of a training so short
    (folder,) = runs.glob("train-sadvae-small-*")
    return folder, output


@pytest.fixture
def prepared(small_dataset, runs, request):
    """A training that writes a checkpoint after every epoch: its experiment, and the folder to resume it in."""
    experiment = Experiment(
        method="methods.sadvae",
        problem=ProblemOptions(dataset=small_dataset, split="two", text=ClassText(encoder="attributes")),
        configs=({**SMALL_FIELDS, "epochs": 40},),
        seeds=(0, 1),
        test=True,
        checkpoint_seconds=0.0,
    )
    return experiment, write_experiment(experiment, runs / request.node.name)


def write_experiment(experiment, folder):
    folder.mkdir()
    (folder / "experiment.json").write_text(experiment.model_dump_json())
    return folder


def without_seconds(outcomes):
    return [outcome.model_copy(update={"seconds": 0.0}) for outcome in outcomes]


def test_with_json_every_epoch_and_outcome_is_a_line(trained):
    _, output = trained
    epochs, outcomes = events(output, "epoch"), events(output, "outcome")
    assert [(e["stage"], e["epoch"]) for e in epochs] == [(s, i) for s in ("validation", "test") for i in range(3)]
    assert [len(e["metrics"]) for e in epochs] == [3 * 3] * 3 + [3 * 2] * 3  # three folds; and one without seen samples
    assert [(o["seed"], o["ensemble"], o["status"]) for o in outcomes] == [
        (5, "", "finished"),
        (6, "", "finished"),
        (7, "", "finished"),
        (5, "3 seeds", "finished"),
    ]
    assert all(set(o["test"]) == {"clean", "released"} for o in outcomes)
    (setting,) = events(output, "setting")
    assert setting["features"].startswith("random: 16 dimensions")
    assert setting["seeds"] == "5, 6, 7"


def test_the_folder_holds_the_outcomes_and_models_of_each_seed_and_of_all_together(trained):
    folder, output = trained
    outcomes = [{"event": "outcome", **outcome.model_dump()} for outcome in read_outcomes(folder)]
    *single, together = events(output, "outcome")
    assert json.loads(json.dumps(outcomes)) == single
    models = {f"{name}-{p}" for name in (0, 1, 2, "two-3-seeds") for p in ("clean", "released")}
    held_out = {f"{seed}-held-out.safetensors" for seed in range(3)}
    assert {path.name for path in (folder / "models").iterdir()} == models | held_out
    assert together["models"] == {p: f"models/two-3-seeds-{p}" for p in ("clean", "released")}
    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        "experiment.json",
        "outcomes.json",
        "ensembles.json",
        "models",
    }


def test_mlflow_has_a_run_for_the_training_and_one_for_each_seed(trained):
    folder, _ = trained
    parent, seeds = tracked_runs(folder)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["method"] == "methods.sadvae"
    assert parent.data.tags["data.split"] == "two"
    for outcome in read_outcomes(folder):
        run = seeds[f"seed-{outcome.seed}"]
        assert run.info.status == "FINISHED"
        assert run.data.params["learning_rate"] == "0.01"
        assert run.data.metrics["clean/harmonic_mean"] == outcome.test["clean"]["harmonic_mean"]
        assert run.data.metrics["validation/harmonic_mean"] == outcome.validation["harmonic_mean"]
    assert set(seeds) == {"seed-5", "seed-6", "seed-7", "ensemble-3-seeds"}


def test_mlflow_has_a_run_for_the_seeds_together(trained):
    folder, output = trained
    (together,) = [o for o in events(output, "outcome") if o["ensemble"]]
    run = tracked_runs(folder)[1]["ensemble-3-seeds"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["ensemble"] == "3 seeds"
    for protocol in ("clean", "released"):
        assert run.data.metrics[f"{protocol}/harmonic_mean"] == together["test"][protocol]["harmonic_mean"]
    assert run.data.metrics["validation/harmonic_mean"] == together["validation"]["harmonic_mean"]


def test_a_finished_training_is_only_read_and_says_the_same(trained):
    folder, output = trained
    code, again, _ = invoked("train", "--resume", folder, "--json")
    assert code == 0
    assert events(again, "epoch") == []
    assert events(again, "outcome") == events(output, "outcome")
    assert len(tracked_runs(folder)[1]) == 4


def test_without_json_a_table_names_both_protocols(small_dataset, runs):
    code, output, _ = invoked("train", "methods.sadvae", *small_options(small_dataset, runs, epochs=1, lambda_1=0.5))
    assert code == 0
    assert "clean" in output
    assert "it leaks" in output
    assert output.index("random: 16 dimensions") < output.index("test, %")  # said before it starts
    assert output.count("ZSL among 2 classes, chance 50.0 %") == 2  # before, and below the table
    assert "ensemble" not in output  # of one seed
    assert "mlflow ui --backend-store-uri" in output


def test_a_configuration_that_cannot_train_on_so_few_samples_is_said_in_one_line(small_dataset, runs):
    options = small_options(small_dataset, runs, epochs=2, learning_rate=1e-5)
    code, output, errors = invoked("train", "methods.sadvae", *options, "--json")
    assert code == 0
    assert errors.startswith("warning: 8 steps at learning rate 1e-05 move what sadvae makes of class text by ")
    assert (
        " at most; below about 1.5 it stays near chance: search with python -m platform.tune methods.sadvae" in errors
    )
    assert (
        "--encoder attributes --space search_spaces/sadvae_small.yaml, or try --set learning_rate=0.001 --set" in errors
    )
    assert errors.count("\n") == 1
    assert len(events(output, "outcome")) == 1


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_to_the_same_outcome(prepared, runs):
    experiment, folder = prepared
    for checkpoint in ("validation-0.safetensors", "test-0.safetensors"):
        process = started("train", "--resume", folder)
        wait_for((folder / checkpoint).exists, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert read_outcomes(folder) is None
    ended(started("train", "--resume", folder))
    ended(started("train", "--resume", write_experiment(experiment, runs / "undisturbed")))
    assert without_seconds(read_outcomes(folder)) == without_seconds(read_outcomes(runs / "undisturbed"))
    parent, seeds = tracked_runs(folder)
    assert set(seeds) == {"seed-0", "seed-1", "ensemble-2-seeds"}
    assert {run.info.status for run in (parent, *seeds.values())} == {"FINISHED"}


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["", " --workers 2"])
def test_ctrl_c_says_how_to_go_on(prepared, workers):
    _, folder = prepared
    process = started("train", "--resume", folder, *workers.split())
    wait_for((folder / "validation-0.safetensors").exists, process)
    process.send_signal(signal.SIGINT)
    _, errors = ended(process, code=130)
    assert errors == f"stopped; go on with: python -m platform.train --resume {folder}{workers}\n"
    assert tracked_runs(folder)[0].info.status == "KILLED"


@pytest.fixture
def ray_stopped_after():
    import ray

    before = ray.is_initialized()
    yield
    if not before:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_stopped_after")
def test_two_workers_give_the_same_metrics_every_time(small_dataset, runs):
    options = small_options(small_dataset, runs, epochs=20)
    outcomes = []
    for _ in range(2):
        code, output, errors = invoked("train", "methods.sadvae", *options, "--workers", 2, "--json")
        assert code == 0, errors
        outcomes.append(events(output, "outcome"))
    ((one,), (other,)) = outcomes
    assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert one["test"]["clean"]["zsl"] > 0.5  # two unseen classes


@pytest.mark.slow
@pytest.mark.usefixtures("ray_stopped_after")
def test_what_is_wrong_in_a_worker_is_raised_here(prepared, tmp_path):
    runtime.connect()
    experiment, folder = prepared
    gone = experiment.problem.model_copy(update={"dataset": tmp_path / "gone"})
    with pytest.raises(InputError, match="gone is no data folder"):
        train_on_workers(experiment.model_copy(update={"problem": gone}), folder, 2, gpus=0.0)
    assert [path.name for path in folder.iterdir()] == ["experiment.json"]


def test_more_workers_than_cpus_are_refused(prepared, monkeypatch):
    _, folder = prepared
    monkeypatch.setattr("platform.runtime.connect", lambda address: None)
    monkeypatch.setattr("platform.runtime.resources", lambda: (2.0, 0.0))
    code, _, errors = invoked("train", "--resume", folder, "--workers", 3)
    assert code == 2
    assert errors == "error: --workers 3: this machine has 2 CPUs, and each worker takes one\n"


@pytest.mark.parametrize(
    ("workers", "address", "resources", "gpus"),
    [(2, None, (2.0, 1.0), 0.0), (2, None, (1.0, 2.0), 1.0), (8, "auto", (2.0, 4.0), 0.0)],
)
def test_workers_take_a_gpu_each_or_none(workers, address, resources, gpus, monkeypatch):
    monkeypatch.setattr("platform.runtime.resources", lambda: resources)
    assert gpus_of_each(workers, address) == gpus


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--set", "learning_rat=1"], "unknown field `learning_rat` of SADVAEConfig; did you mean `learning_rate`?"),
        (["--set", "z_r=wide"], "z_r='wide': input should be a valid integer"),
        (["--set", "z_r"], "--set z_r: expected FIELD=VALUE, as in --set learning_rate=1e-3"),
        (["--preset", "ntu"], "no preset `ntu`; there is ntu60-synse"),
        (["--split", "three"], "no class split `three`"),
        (["--features", "i3d"], "no feature set `i3d`; it has random"),
        (["--encoder", "clip"], "unknown encoder `clip`"),
        (["--combine", "sum"], "--combine sum: expected one of mean, concatenate"),
        (["--normalise", "zscore"], "--normalise zscore: expected one of none, scale, standard, minmax, l2"),
        (["--protocol", "leaky"], "--protocol leaky: expected clean, or both"),
        (["--device", "tpu"], "device `tpu`"),
        (["--dataset", "no/such/folder"], "no/such/folder"),
    ],
)
def test_what_is_wrong_is_one_line_before_a_folder_is_made(small_dataset, tmp_path, wrong, message):
    runs = tmp_path / "runs"
    code, output, errors = invoked("train", "methods.sadvae", *small_options(small_dataset, runs), *wrong)
    assert (code, output) == (2, "")
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert not runs.exists()


def test_a_folder_without_a_training_cannot_be_resumed(tmp_path):
    code, _, errors = invoked("train", "--resume", tmp_path)
    assert code == 2
    assert errors == f"error: --resume {tmp_path}: no training stands there (it has no experiment.json)\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["methods.nothing"], "no method `methods.nothing`: there is no such module; try methods.sadvae"),
        (["platform.errors"], "`platform.errors` is no method"),
        (["--seed", "1"], "give a METHOD, such as methods.sadvae, or --resume FOLDER"),
        (["--resume", "."], "--resume goes on with what was asked for then: leave --dataset out"),
        (["methods.sadvae", "--resume", "."], "--resume goes on with what was asked for then"),
    ],
)
def test_a_training_needs_a_method_or_a_folder(small_dataset, tmp_path, arguments, message):
    runs = tmp_path / "runs"
    code, _, errors = invoked("train", *arguments, "--dataset", small_dataset, "--split", "two", "--runs", runs)
    assert code == 2
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1
    assert not runs.exists()


def test_as_a_process_a_wrong_option_is_one_line_and_exit_code_2(small_dataset):
    process = started("train", "methods.sadvae", "--dataset", small_dataset, "--split", "three")
    output, errors = ended(process, code=2)
    assert output == ""
    named = "no class split `three`; it has two, one, seen, and random:UNSEEN:SEED or half:SEED"
    assert errors == f"error: {small_dataset}: {named}\n"
