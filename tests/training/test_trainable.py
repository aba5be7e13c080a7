import json

import pytest
from verbs import SMALL_FIELDS, write_small_dataset

from methods.sadvae import method
from platform.datasets.text import ClassText
from platform.errors import InputError, Unavailable
from platform.training import trainable
from platform.training.protocols import ProtocolOptions
from platform.training.saved_models import load_model
from platform.training.trainable import Experiment, packs_of, read_outcomes, train
from platform.workers import Workers
from platform.zeroshot.problem import ProblemOptions

SMALL = {**SMALL_FIELDS, "epochs": 2}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A function of fields, to an experiment."""
    dataset = write_small_dataset(tmp_path_factory.mktemp("data") / "small")
    problem = ProblemOptions(dataset=dataset, split="two", text=ClassText(encoder="attributes"))

    def experiment(**fields):
        plain = {"method": "methods.sadvae", "configs": (SMALL,), "seeds": (0,), "test": True}
        return Experiment(problem=problem, **{**plain, **fields})

    return experiment


CONFIGS = (SMALL, {**SMALL, "batch_size": 16}, {**SMALL, "z_r": 5})  # the second is of another pack


@pytest.fixture(scope="module")
def trained(experiment, tmp_path_factory):
    """An experiment of three configurations, two splits and two seeds: its folder and outcomes."""
    folder = tmp_path_factory.mktemp("trained")
    asked = experiment(configs=CONFIGS, keys=("x", "y", "z"), seeds=(3, 5), splits=("two", "random:2:0"))
    return folder, train(asked, folder)


def test_outcomes_are_configuration_by_configuration_split_by_split_seed_by_seed(trained):
    folder, outcomes = trained
    assert [(o.key, o.split, o.seed) for o in outcomes] == [
        (key, split, seed) for key in "xyz" for split in ("two", "random:2:0") for seed in (3, 5)
    ]
    for outcome in outcomes:
        config = CONFIGS["xyz".index(outcome.key)]
        assert outcome.config == method.configure(config).model_dump()
        assert (outcome.status, outcome.ensemble, len(outcome.epochs)) == ("finished", "", 2)
        for protocol in ("clean", "released"):
            model, record = load_model(folder / outcome.models[protocol])
            assert (model.seed, model.config) == (outcome.seed, method.configure(config))
            assert (record["protocol"], record["problem"]["split"]) == (protocol, outcome.split)
    assert {o.name for o in outcomes} == {"seed-3", "seed-5"}


def test_what_an_experiment_names_is_found_and_never_kept_in_it(experiment):
    asked = experiment(splits=("two", "random:2:0"))
    assert asked.loaded_method is method
    assert [len(asked.loaded(split).task.unseen) for split in asked.splits] == [2, 2]
    assert set(vars(asked)) == set(Experiment.model_fields)  # so nothing more is compared, copied, pickled or written
    assert Experiment.model_validate_json(asked.model_dump_json()) == asked == experiment(splits=asked.splits)
    assert type(asked.model_copy(update={"method": "methods.eszsl"}).loaded_method).__name__ == "ESZSL"
    gone = asked.problem.model_copy(update={"dataset": asked.problem.dataset / "gone"})
    with pytest.raises(Unavailable, match="is no data folder"):
        asked.model_copy(update={"problem": gone}).loaded("two")
    with pytest.raises(InputError, match=r"no method `no\.such\.method`"):
        experiment(method="no.such.method").loaded_method  # noqa: B018


def test_a_finished_experiment_is_only_read(trained, experiment):
    folder, outcomes = trained
    assert read_outcomes(folder) == outcomes
    assert train(experiment(method="no.such.method"), folder) == outcomes


def test_outcomes_count_the_classes_and_samples_that_they_were_measured_on(trained, experiment):
    _, outcomes = trained
    for outcome in outcomes:
        problem = experiment().loaded(outcome.split)
        of_unseen = int((problem.test.labels >= len(problem.task.seen)).sum())
        assert outcome.counts == {
            "seen": 6,
            "unseen": 2,
            "seen_samples": len(problem.test.labels) - of_unseen,
            "unseen_samples": of_unseen,
            "validation_seen": 4,
            "validation_unseen": 2,
        }


def test_outcomes_written_before_they_had_counts_are_read(trained, tmp_path):
    _, outcomes = trained
    older = [outcome.model_dump(exclude={"counts"}) for outcome in outcomes]
    (tmp_path / "outcomes.json").write_text(json.dumps(older))
    assert [(o.test, o.counts) for o in read_outcomes(tmp_path)] == [(o.test, {}) for o in outcomes]


def test_nothing_is_left_but_outcomes_and_models(trained):
    folder, outcomes = trained
    assert {path.name for path in folder.iterdir()} == {"models", "outcomes.json"}
    written = {*(m for o in outcomes for m in o.models.values()), *(o.held_out for o in outcomes)}
    assert {f"models/{path.name}" for path in (folder / "models").iterdir()} == written


def test_an_outcome_is_that_of_its_configuration_and_split_alone(trained, experiment, tmp_path):
    _, outcomes = trained
    (alone, other) = train(experiment(configs=CONFIGS[2:], seeds=(3, 5), splits=("random:2:0",)), tmp_path)
    together = next(o for o in outcomes if (o.key, o.split, o.seed) == ("z", "random:2:0", 5))
    assert other.epoch == together.epoch
    assert alone.epoch == other.epoch  # the seeds choose it together
    for epoch, expected in zip(other.epochs, together.epochs, strict=True):
        assert epoch["reconstruction"] == pytest.approx(expected["reconstruction"], rel=1e-3)
    assert other.test["clean"] == pytest.approx(together.test["clean"], abs=0.05)


def test_configurations_go_by_their_numbers_where_they_have_no_keys(experiment):
    assert list(experiment(configs=CONFIGS).named()) == ["0", "1", "2"]
    assert experiment(configs=CONFIGS, keys=("x", "y", "z")).named() == dict(zip("xyz", CONFIGS, strict=True))


def test_packs_are_of_configurations_that_can_train_side_by_side():
    configs = {key: method.configure(config) for key, config in zip("xyz", CONFIGS, strict=True)}
    assert packs_of(method, configs) == [["x", "z"], ["y"]]


def test_the_first_worker_writes_for_all(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(Workers, "average", lambda _, gradients: gradients)  # with no other worker
    for rank, written in ((1, set()), (0, {"models", "outcomes.json"})):
        (outcome,) = train(experiment(), tmp_path, rank=rank, world_size=2)
        assert outcome.status == "finished"
        assert {path.name for path in tmp_path.iterdir()} == written


@pytest.mark.parametrize("test", [True, False])
def test_a_configuration_that_diverges_is_a_failed_outcome(experiment, tmp_path, test):
    configs = ({**SMALL, "learning_rate": 1e30}, SMALL)
    wild, sound = train(experiment(configs=configs, test=test), tmp_path)
    assert (wild.status, sound.status) == ("failed", "finished")
    assert wild.reason == "its losses were no longer finite in validation; a smaller learning_rate may help"
    assert (wild.epochs, wild.models, wild.test, wild.held_out) == ([], {}, {}, "")
    assert bool(sound.models) == test


class Silent:
    """A scheduler that only listens."""

    def __init__(self):
        self.ended = {}

    def is_rung(self, config, epochs):
        return False

    def exchange(self, ended, waiting):
        self.ended |= ended
        return [], {}


def test_with_a_scheduler_outcomes_are_the_schedulers_to_make(experiment, tmp_path):
    scheduler, asked = Silent(), experiment(configs=CONFIGS[::2], keys=("x", "z"), test=False)
    assert train(asked, tmp_path, scheduler=scheduler) == []
    assert list(scheduler.ended) == ["x", "z"]
    assert read_outcomes(tmp_path) is None


def test_what_a_method_cannot_be_given_is_refused(experiment, tmp_path):
    with pytest.raises(InputError, match="did you mean `z_r`"):
        train(experiment(configs=({**SMALL, "zr": 3},)), tmp_path)
    with pytest.raises(InputError, match="no class split `three`"):
        train(experiment(splits=("two", "three"), protocol=ProtocolOptions()), tmp_path)


def test_data_or_a_device_that_are_away_are_no_configurations_fault(experiment, tmp_path):
    asked, folder = experiment(), tmp_path / "run"
    away = asked.problem.dataset.rename(tmp_path / "away")
    with pytest.raises(Unavailable, match="is no data folder"):
        train(asked, folder)
    away.rename(asked.problem.dataset)
    with pytest.raises(Unavailable, match="device `gpu`"):
        train(experiment(device="gpu"), folder)
    assert not folder.exists()
    with pytest.raises(InputError, match="seen_classifier=logits") as caught:  # and this is
        train(experiment(configs=({**SMALL, "seen_classifier": "logits"},)), folder)
    assert not isinstance(caught.value, Unavailable)


def test_a_disk_that_fails_in_reading_is_no_configurations_fault(experiment, tmp_path, monkeypatch):
    def fail(options):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(trainable, "load_problem", fail)
    with pytest.raises(Unavailable, match="Input/output error"):
        train(experiment(), tmp_path / "run")
