"""Several stages and splits in one search: what is chosen among all their trials, and what is tested of it.

Trials are not trained: what each comes to is a function of its fields.
"""

import json
import shutil

import pytest
import yaml
from verbs import SMALL_FIELDS

from platform.datasets.text import ClassText
from platform.errors import InputError
from platform.method import load_method
from platform.search import search as searches
from platform.search.execution import Resources
from platform.search.search import Search, SearchOptions
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import Outcome
from platform.zeroshot.problem import ProblemOptions

METHOD = load_method("methods.sadvae")
STAGES = [
    {"name": "first", "trials": 2, "sampled": {"beta_x": {"choice": [0.1, 0.2]}}},
    {"name": "second", "trials": 2, "sampled": {"lambda_1": {"choice": [1.0, 2.0]}}},
    {"name": "third", "trials": 2, "sampled": {"n_d": {"choice": [1, 2]}}},
]
STAGES[0]["points"] = [{"beta_x": 0.1}, {"beta_x": 0.2}]
STAGES[1]["points"] = [{"lambda_1": 1.0}, {"lambda_1": 2.0}]
STAGES[2]["points"] = [{"n_d": 1}, {"n_d": 2}]


class Heard:
    """A tracker and a watch in one, which keep what they are given."""

    def __init__(self):
        self.records, self.tags, self.stages, self.texts, self.metrics = {}, {}, [], [], {}

    def child_keys(self):
        return set()

    def child(self, record):
        self.records[record.key] = record

    def tag(self, key, tags):
        self.tags[key] = tags

    def close_orphans(self):
        pass

    def finish(self, status, metrics, artifacts):
        self.metrics = metrics

    def stage(self, name, done, total, fields, rows=()):
        self.stages.append((name, list(fields), [row.key for row in rows]))

    def trial(self, row):
        pass

    def tested(self, key):
        pass

    def said(self, text):
        self.texts.append(text)


@pytest.fixture
def make(small_dataset, tmp_path):
    """A function of stages and options, to the folder of a new search."""

    def made(stages=STAGES, splits=("two",), metric="zsl", **options):
        space = tmp_path / "space.yaml"
        space.write_text(yaml.safe_dump({"source": "a test", "metric": metric, "stages": stages}, sort_keys=False))
        problem = ProblemOptions(dataset=small_dataset, split=splits[0], text=ClassText(encoder="attributes"))
        asked = {
            "name": "tune", "method": "methods.sadvae", "problem": problem, "protocol": ProtocolOptions(),
            "base": SMALL_FIELDS, "trials": [stage["trials"] for stage in stages], "sampler": "random", "seed": 0,
            "seeds": 1, "splits": splits, "pack": 1, "halving": None, "test_seeds": 1, "ensemble": 2, "cpus": 1.0,
            "gpus": None, "device": "cpu",
        }  # fmt: skip
        return Search.create(tmp_path / "tune", SearchOptions(**asked | options), space.read_text()).folder

    return made


@pytest.fixture
def carry_out(monkeypatch):
    """A function that carries out the search of a folder, in which a trial comes to `reached(fields, split)`."""

    def carried_out(folder, reached, heard=None):
        def outcome(key, fields, seed, split, test):
            config = METHOD.configure(fields).model_dump()
            value = reached(config, split)
            metrics = {"zsl": value, "seen": 1 - value, "unseen": value, "harmonic_mean": value}
            tested = {"clean": metrics} if test else {}
            return Outcome(
                key=key, config=config, seed=seed, split=split, status="finished", validation=metrics, test=tested
            )

        def execute(source, resources, concurrency, storage):
            while (job := source.next()) is not None:
                asked, running = job.experiment, job.experiment.named()
                while running:
                    ended = {
                        key: [outcome(key, config, s, split, asked.test) for split in asked.splits for s in asked.seeds]
                        for key, config in running.items()
                    }
                    if asked.test:
                        source.over(job, ended["best"], "")
                        break
                    running = source.exchange(job, ended, {}).joining
                else:
                    source.over(job, [], "")

        heard = heard or Heard()
        with monkeypatch.context() as patch:
            patch.setattr(searches, "execute", execute)
            patch.setattr(searches, "seeds_together", lambda *arguments: [])
            patch.setattr(searches, "best_together", lambda *arguments: [])
            report = Search(folder).run(heard, heard, Resources(), 1)
        assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(report.model_dump()))
        return report, heard

    return carried_out


def first_is_best(config, split):
    """0.9 with beta_x=0.2 alone; whatever a later stage changes is worse."""
    return 0.9 - 0.2 * (config["beta_x"] != 0.2) - 0.1 * (config["lambda_1"] != 1.5) - 0.05 * (config["n_d"] != 3)


def test_the_best_is_the_best_of_all_stages_and_the_leaderboard_shows_them_all(make, carry_out):
    report, heard = carry_out(make(base={**SMALL_FIELDS, "lambda_1": 1.5, "n_d": 3}), first_is_best)
    assert report.best_key == "first-0001"
    assert (report.best["beta_x"], report.best["lambda_1"], report.best["n_d"]) == (0.2, 1.5, 3)
    assert report.validation["zsl"] == pytest.approx(0.9)
    assert [row.key for row in report.leaders] == [
        "first-0001", "third-0000", "third-0001", "second-0000", "second-0001", "first-0000",
    ]  # fmt: skip
    assert report.fields == ["beta_x", "lambda_1", "n_d"]
    assert (report.trials, report.selection) == (6, "")
    assert report.tests["single"]["clean"]["zsl"] == pytest.approx([0.9])
    assert heard.metrics["clean/zsl"] == pytest.approx(0.9)
    assert heard.records["best-seed-0"].params["lambda_1"] == 1.5


def test_a_later_stage_starts_from_the_best_of_all_before_it(make, carry_out):
    report, heard = carry_out(make(base={**SMALL_FIELDS, "lambda_1": 1.5, "n_d": 3}), first_is_best)
    third = next(row for row in report.leaders if row.key == "third-0000")
    assert (third.values["beta_x"], third.values["lambda_1"]) == (0.2, 1.5)  # none of the second stage's values
    assert heard.stages[2] == (
        "third", ["beta_x", "lambda_1", "n_d"], ["first-0000", "first-0001", "second-0000", "second-0001"],
    )  # fmt: skip


def test_what_predicts_together_is_ranked_over_all_stages(make, carry_out, tmp_path):
    folder = make(base={**SMALL_FIELDS, "lambda_1": 1.5, "n_d": 3})
    carry_out(folder, first_is_best)
    (choice,) = json.loads((folder / "best" / "chosen.json").read_text())
    assert choice == {"folder": "", "splits": ["two"], "keys": ["first-0001", "third-0000"]}
    tested = [json.loads((folder / "best" / str(n) / "outcomes.json").read_text())[0]["config"] for n in range(2)]
    assert [(config["lambda_1"], config["n_d"]) for config in tested] == [(1.5, 3), (1.5, 1)]


def test_the_front_is_of_all_stages(make, carry_out):
    folder = make(metric=["unseen", "seen"], base={**SMALL_FIELDS, "lambda_1": 1.5, "n_d": 3})
    report, heard = carry_out(folder, first_is_best)
    # seen is 1 - unseen, so that none beats another; of equal ones the first proposed stands for both
    assert report.front == ["first-0000", "first-0001", "second-0000", "third-0000"]
    assert heard.tags == {key: {"pareto": "true"} for key in report.front}


def test_a_preliminary_stage_gives_its_values_and_is_not_compared(make, carry_out):
    stages = [{**STAGES[0], "preliminary": True}, *STAGES[1:]]
    report, heard = carry_out(make(stages, base={**SMALL_FIELDS, "lambda_1": 1.5, "n_d": 3}), first_is_best)
    assert report.best_key == "second-0000"
    assert report.best["beta_x"] == 0.2
    assert {row.key.partition("-")[0] for row in report.leaders} == {"second", "third"}
    assert heard.stages[1][2] == []
    assert report.trials == 6


def by_split(config, split):
    """On `two` and on the mean beta_x=0.1 is the best, on `one` 0.2."""
    if split == "two":
        return 0.8 - 0.3 * (config["beta_x"] == 0.2) - 0.1 * (config["lambda_1"] == 2.0)
    return 0.4 + 0.1 * (config["beta_x"] == 0.2) + 0.05 * (config["lambda_1"] == 2.0)


def test_together_one_configuration_is_tested_on_all_splits_and_what_they_share_is_said(make, carry_out):
    report, heard = carry_out(make(STAGES[:2], splits=("two", "one")), by_split)
    assert (report.best["beta_x"], report.by_split) == (0.1, {})
    assert report.selection == (
        "chosen together over splits: 1 of the 2 unseen classes of `two`, 1 of the 2 unseen classes of `one` are seen "
        "in another split of the selection"
    )
    assert [key for key in heard.records if key.startswith("best")] == ["best-two-seed-0", "best-one-seed-0"]
    assert {r.params["beta_x"] for key, r in heard.records.items() if key.startswith("best")} == {0.1}


def test_per_split_each_has_its_own_best_of_the_same_trials(make, carry_out):
    folder = make(STAGES[:2], splits=("two", "one"), select="per-split")
    report, heard = carry_out(folder, by_split)
    assert (report.best, report.best_key, report.leaders, report.selection) == ({}, "", [], "")
    assert list(report.by_split) == ["two", "one"]
    keys = {split: chosen.best_key for split, chosen in report.by_split.items()}
    assert keys == {"two": "first-0000", "one": "first-0001"}
    assert report.by_split["two"].validation["zsl"] == pytest.approx(0.8)
    assert {r.key for r in report.by_split["one"].leaders} == {r.key for r in report.by_split["two"].leaders}
    tested = {key: r.params["beta_x"] for key, r in heard.records.items() if key.startswith("best")}
    assert tested == {"best-two-seed-0": 0.1, "best-one-seed-0": 0.2}
    assert sorted(report.tests["single"]["clean"]["zsl"]) == pytest.approx([0.5, 0.8])
    assert sorted(path.parent.parent.name for path in folder.glob("best/*/0/outcomes.json")) == ["one", "two"]
    again, _ = carry_out(folder, by_split)
    assert again == report


def test_what_was_chosen_stays_chosen_when_another_version_ranks_otherwise(make, carry_out, monkeypatch):
    folder = make(base={**SMALL_FIELDS, "lambda_1": 1.5, "n_d": 3})
    report, _ = carry_out(folder, first_is_best)
    monkeypatch.setattr(searches, "ranked", lambda trials, space: list(trials))
    again, _ = carry_out(folder, first_is_best)
    assert (again.best_key, again.tests) == (report.best_key, report.tests)


@pytest.fixture
def of_earlier_version(make, carry_out):
    """A search's folder as an earlier version left it at its end: it had chosen among the last stage's trials."""
    folder = make(base={**SMALL_FIELDS, "lambda_1": 1.5, "n_d": 3})
    carry_out(folder, first_is_best)
    asked = json.loads((folder / "search.json").read_text())
    old = {name: value for name, value in asked.items() if name not in ("select", "validation", "compared")}
    (folder / "search.json").write_text(json.dumps(old))
    shutil.rmtree(folder / "best" / "0")
    (folder / "best" / "1").rename(folder / "best" / "0")  # the last stage's best
    (folder / "best" / "chosen.json").unlink()
    return folder


def test_a_search_that_an_earlier_version_tested_is_reported_as_it_was_chosen(of_earlier_version, carry_out):
    report, heard = carry_out(of_earlier_version, first_is_best)
    assert report.best_key == "third-0000"
    assert report.tests["single"]["clean"]["zsl"] == pytest.approx([0.85])
    (said,) = heard.texts
    assert "first-0001 is better: start the search anew to test it" in said
    assert report.leaders[0].key == "first-0001"


def test_a_search_that_an_earlier_version_began_chooses_among_all_stages(of_earlier_version, carry_out):
    shutil.rmtree(of_earlier_version / "best")
    report, heard = carry_out(of_earlier_version, first_is_best)
    assert (report.best_key, heard.texts) == ("first-0001", [])
    assert (
        report.validated_on
        == "validation: ZSL of 2 classes, chance 50.0 %; s, u and H of 6 classes, chance 16.7 %; 3 folds"
    )


def test_the_test_of_another_configuration_is_never_taken_for_the_bests(make, carry_out):
    folder = make(base={**SMALL_FIELDS, "lambda_1": 1.5, "n_d": 3})
    carry_out(folder, first_is_best)
    (choice,) = json.loads((folder / "best" / "chosen.json").read_text())
    (folder / "best" / "chosen.json").write_text(json.dumps([{**choice, "keys": choice["keys"][::-1]}]))
    with pytest.raises(InputError, match=f"{folder / 'best' / '0'} holds the test of another configuration") as refused:
        carry_out(folder, first_is_best)
    assert "\n" not in str(refused.value)


def test_a_stage_without_a_trial_that_ended_ends_the_search(make, carry_out):
    folder = make(base={**SMALL_FIELDS, "lambda_1": 1.5, "n_d": 3})
    with pytest.raises(InputError, match="stage `second`: all 2 trials failed"):
        carry_out(folder, lambda config, split: 0.5 if config["lambda_1"] == 1.5 else float("nan"))
