import pytest
import torch

from benchmarks.random_models import save_random_model
from benchmarks.regen import Way, decoded_here, differences, made_task, noise


@pytest.mark.slow
def test_the_plain_way_finds_what_the_method_finds(tmp_path):
    models = {"captioner": "git-tiny", "clip": "clip-tiny", "language_model": "bert-tiny"}
    values = {kind: save_random_model(size, tmp_path / size) for kind, size in models.items()}
    values |= {"epochs": 1, "batch_size": 2, "beams": 3, "max_tokens": 5}
    noise(tmp_path / "clips.arrow", 2, 2)
    task = made_task(decoded_here(tmp_path / "clips.arrow"))
    quick, plain = Way(plain=False), Way(plain=True)
    for way in (quick, plain):
        way.round(task, values)
    assert [len(texts) for texts, _ in quick.noted] == [6, 2]
    of_rewards, of_gradient = differences(quick, plain)
    assert of_rewards < 1e-3
    assert of_gradient < 1e-3
    assert quick.told.keys() == plain.told.keys()
    for name, told in quick.told.items():
        torch.testing.assert_close(told, plain.told[name], rtol=1e-3, atol=1e-3)
