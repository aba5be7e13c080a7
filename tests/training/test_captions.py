import csv
from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn.functional import log_softmax, one_hot

from platform.training.captions import write_captions
from platform.training.evaluation import caption_metrics
from platform.zeroshot.cider import cider
from platform.zeroshot.task import Samples


@dataclass(frozen=True)
class Describing:
    """Says of a sample what stands in `said`, and takes it for the class whose number it holds."""

    said: tuple[str, ...]
    seen: tuple[str, ...] = ("run", "jump")
    unseen: tuple[str, ...] = ("swim", "fly")

    def captions(self, x):
        return [self.said[i] for i in range(len(x))]

    def scores(self, x):
        return log_softmax(9.0 * one_hot(x[:, 0].long(), 4), dim=1)

    def unseen_scores(self, x):
        return log_softmax(self.scores(x)[:, 2:], dim=1)


@pytest.fixture
def samples():
    return Samples(torch.tensor([[0.0], [3.0], [3.0]]), torch.tensor([0, 2, 2]))


def test_a_sample_is_told_with_its_class_and_caption(samples, tmp_path):
    model = Describing(("a man runs", 'she says "swim, now"', ""))
    write_captions(tmp_path / "captions.csv", model, samples)
    with (tmp_path / "captions.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["sample", "caption", "class", "predicted", "seen"],
        ["0", "a man runs", "run", "run", "True"],
        ["1", 'she says "swim, now"', "swim", "fly", "False"],
        ["2", "", "swim", "fly", "False"],
    ]


def test_words_are_counted_a_caption_and_a_class(samples):
    model = Describing(("a man runs", "A woman swims", "a man swims"))
    assert caption_metrics(model, samples) == {"caption_words": 3.0, "caption_unique_words": (3 + 4) / 2}


def test_cider_is_of_the_unseen_classes_samples_that_have_references(samples):
    model = Describing(("a man runs", "a woman swims in the sea", "a man swims"))
    references = [["nothing of this"], ["a woman swims in the sea"], ["a man swims", "he swims"]]
    found = caption_metrics(model, replace(samples, references=references))["cider"]
    assert found == pytest.approx(cider(model.said[1:], references[1:]))
    assert found > 1
    without = caption_metrics(model, replace(samples, references=[["a man runs"], [], []]))
    assert "cider" not in without  # a seen class's is no zero-shot caption


def test_references_go_with_their_samples(samples):
    told = replace(samples, references=[["a"], [], ["c", "d"]])
    assert told.where(samples.labels == 2).to("cpu").references == [[], ["c", "d"]]


def test_a_sample_of_a_data_folder_is_told_by_its_name(samples, tmp_path):
    named = replace(samples, ids=[f"run/{i}" for i in range(len(samples.labels))])
    assert named.where(named.labels == 2).ids == ["run/1", "run/2"]
    write_captions(tmp_path / "captions.csv", Describing(("a", "b", "c")), named)
    assert [row["sample"] for row in csv.DictReader((tmp_path / "captions.csv").open())] == ["run/0", "run/1", "run/2"]


def test_a_model_without_captions_writes_nothing(samples, tmp_path):
    write_captions(tmp_path / "captions.csv", object(), samples)
    assert caption_metrics(object(), samples) == {}
    assert not list(tmp_path.iterdir())
