import pytest
import torch
from verbs import write_small_dataset

from platform.datasets.text import ClassText
from platform.search.sizing import _measured
from platform.training.trainable import Experiment
from platform.zeroshot.problem import ProblemOptions


@pytest.mark.parametrize(("method", "fields", "batches"), [
    ("methods.eszsl", {}, 1),  # which has no batches: all samples are one
    ("methods.smie", {"batch_size": 40, "hidden_1": 8, "hidden_2": 8}, 3),
])  # fmt: skip
def test_a_pack_is_measured_by_the_batches_of_an_epoch(tmp_path, method, fields, batches):
    dataset = write_small_dataset(tmp_path / "small")
    problem = ProblemOptions(dataset=dataset, split="two", text=ClassText(encoder="attributes"))
    experiment = Experiment(method=method, problem=problem, configs=(fields,), seeds=(0,), test=False)
    threads = torch.get_num_threads()
    try:
        found, seconds, size, room = _measured(experiment.model_dump_json(), 1)
    finally:
        torch.set_num_threads(threads)
    assert found == batches  # of 120 training samples
    assert seconds > 0
    assert size >= 1
    assert room > 1
