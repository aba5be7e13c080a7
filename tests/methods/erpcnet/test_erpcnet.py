from dataclasses import replace

import pyarrow as pa
import pytest
import torch
from made_erpcnet import SEEN, STORED, UNSEEN, VARIANTS, config, fitted, make_task
from made_frames import write_pictures

from methods import erpcnet
from platform.datasets.encoded_pictures import EncodedPictures
from platform.errors import InputError
from platform.method import Member
from platform.zeroshot.gate import Stacking


@pytest.mark.parametrize("kind", VARIANTS)
def test_every_variant_trains_scores_and_comes_back_from_its_state(kind):
    task, x = make_task()
    own = config(**VARIANTS[kind], epochs=2)
    run, (model,) = fitted([Member(task, own, 0)], 2)
    names = {"global"} if kind == "GlobalNet" else {"global", "local", "joint", "maximum"}
    assert set(run.losses[0][0]) == names | {"accuracy"}
    if own.sampler == "policy":
        assert {"policy_return", "random_return", "policy_steps", "accuracy"} <= set(run.losses[1][0])
    assert bool(model.policy) == (own.sampler == "policy")
    tensors, values = model.state()
    again = erpcnet.ERPCNetModel.from_state(
        tensors, values | {"seen": model.seen, "unseen": model.unseen, "combination": None}
    )
    assert torch.equal(again.unseen_scores(x), model.unseen_scores(x))
    one = torch.ones(len(x))
    torch.testing.assert_close(again.unseen_scores(x).exp().sum(dim=1), one)
    torch.testing.assert_close(again.seen_scores(x).exp().sum(dim=1), one)
    seen, unseen = again.sides(x)
    assert seen.shape == (len(x), SEEN)
    torch.testing.assert_close(torch.cat([seen, unseen], dim=1).exp().sum(dim=1), one)
    assert again.joined_by(Stacking(0.5)).scores(x).shape == (len(x), SEEN + UNSEEN)
    more = again.with_classes(["a", "b", "c"], task.semantics[[0, 4, 5]])
    assert more.unseen_scores(x).shape == (len(x), 3)
    latents = model.latents(x)
    assert set(latents) == ({"global"} if kind == "GlobalNet" else {"global", "union"})
    assert all(len(latent) == len(x) for latent in latents.values())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"side": 96}, "side=96: larger than the stored pictures, 72×72"),
        ({"kernel": 4}, "kernel=4: larger than the 3×3"),
        ({"steps": 5}, "steps=5: there are 2×2 cells"),
        ({"crops": "image", "patch": 65}, "patch=65: larger than the 64×64"),
        ({"policy_epochs": 0}, "policy_epochs=0: sampler=policy would never learn one"),
        ({"policy_epochs": 3}, "policy_epochs=3: leaves none of the 3 epochs"),
        ({"weights": "no/such/file.pt"}, "weights=no/such/file.pt: there is no such file"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    task, _ = make_task()
    with pytest.raises(InputError, match=message) as caught:
        fitted([Member(task, config(**values), 0)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["ERPCNet", "GlobalNet"])
def test_pictures_of_a_file_train_and_test_the_model_that_pixels_in_memory_do(kind, tmp_path):
    task, x = make_task()
    own = config(**VARIANTS[kind], epochs=2)
    encoded = replace(task, features=write_pictures(tmp_path / "p.arrow", task.features.view(-1, 3, STORED, STORED)))
    tested = write_pictures(tmp_path / "x.arrow", x.view(-1, 3, STORED, STORED))
    (run, (model,)), (theirs, (other,)) = (fitted([Member(t, own, 0)], 2) for t in (task, encoded))
    assert run.losses == theirs.losses
    for name, tensor in (model.weights | model.policy).items():
        assert torch.equal((other.weights | other.policy)[name], tensor), name
    assert torch.equal(other.unseen_scores(tested), model.unseen_scores(x))
    assert torch.equal(other.seen_scores(encoded.features), model.seen_scores(task.features))
    assert torch.equal(other.latents(tested)["global"], model.latents(x)["global"])
    if kind == "ERPCNet":
        assert torch.equal(other.steps(tested).boxes, model.steps(x).boxes)
    assert other.unseen_scores(tested[:0]).shape == (0, UNSEEN)


def test_no_more_pictures_are_decoded_at_once_than_are_looked_at(tmp_path, monkeypatch):
    task, _ = make_task(samples=80)
    path, taken, decoded = tmp_path / "p.arrow", [], EncodedPictures._decoded
    write_pictures(path, task.features.view(-1, 3, STORED, STORED))
    pictures = EncodedPictures.of_buffer(pa.py_buffer(path.read_bytes()))  # without a name: decoded in this process

    def noted(self):
        taken.append(len(self))
        return decoded(self)

    monkeypatch.setattr(EncodedPictures, "_decoded", noted)
    _, (model,) = fitted([Member(replace(task, features=pictures), config(epochs=2), 0)], 2)
    assert taken == [8] * 10 + [64, 16]  # stage I by batches of 8, then all cells once
    taken.clear()
    model.seen_scores(pictures)
    assert taken == [64, 16]


def test_features_that_are_no_pictures_are_refused():
    task, _ = make_task()
    for features in (task.features.float(), task.features[:, :-3]):
        with pytest.raises(InputError, match="are no square pictures"):
            fitted([Member(replace(task, features=features), config(), 0)])


@pytest.mark.parametrize(
    ("preset", "sigma", "steps", "dropout"),
    [("cub", 0.5, 6, 0.5), ("sun", 0.7, 6, 0.0), ("apy", 1.1, 6, 0.5), ("awa2", 0.5, 10, 0.0), ("small", 0.5, 4, 0.0)],
)
def test_presets_are_the_papers_choices(preset, sigma, steps, dropout):
    own = erpcnet.method.configure({}, preset)
    assert (own.sigma, own.steps, own.dropout) == (sigma, steps, dropout)
