"""ERPCNet as the paper has it, with a ResNet-101 and Xian et al.'s inputs, from the files to a prediction."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from verbs import events, invoked

from platform.datasets.folder import Dataset
from platform.training.saved_models import load_model

COLOURS = {"002.owl": (1, 0, 0), "001.gull": (0, 1, 0), "004.crow": (0, 0, 1), "003.wren": (1, 1, 0)}
EACH, SIDE = 4, 72
UNSEEN = [("006.jay", (0, 1, 1)), ("005.tern", (1, 0, 1))], [("008.duck", (1, 0.5, 0)), ("007.finch", (0.5, 0, 1))]
SMALL = {
    "weights": "none",
    "side": 64,  # maps of 4 × 4, and so 3 × 3 cells
    "kernel": 2,
    "stride": 1,
    "steps": 3,
    "joint_hidden": 16,
    "batch_size": 4,
    "epochs": 2,
    "policy_epochs": 1,
    "policy_iterations": 1,
    "policy_episodes": 8,
}


def _cells(values):
    array = np.empty((len(values), 1), object)
    array[:, 0] = values
    return array


def _imported(folder, unseen):
    """A data folder of Xian et al.'s files and pictures: a class's colour with noise, and its attributes tell it."""
    classes = {**COLOURS, **dict(unseen)}
    draw, labels = np.random.default_rng(0), np.repeat(np.arange(len(classes)), EACH)
    paths = [f"/elsewhere/images/{name}/p{i}.jpg" for name in classes for i in range(EACH)]
    for path, label in zip(paths, labels, strict=True):
        pixels = draw.integers(0, 60, (SIDE, SIDE + 20, 3)) + 190 * np.array(list(classes.values())[label])
        ours = folder / "them" / path.removeprefix("/elsewhere/")
        ours.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(ours)
    own, last = labels < len(COLOURS), np.arange(len(labels)) % EACH == EACH - 1
    parts = {"trainval_loc": own & ~last, "test_seen_loc": own & last, "test_unseen_loc": ~own}
    positions = {name: np.flatnonzero(part)[:, None] + 1 for name, part in parts.items()}
    attributes = np.array([[*colour, 0.5] for colour in classes.values()]).T
    savemat(folder / "them/att_splits.mat", {"allclasses_names": _cells([*classes]), "att": attributes, **positions})
    savemat(folder / "them/res101.mat", {"image_files": _cells(paths), "labels": labels[:, None] + 1})
    given = ("--images", folder / "them" / "images", "--size", SIDE)
    code, _, errors = invoked("data", "import", "xian", folder / "them", folder / "birds", *given)
    assert code == 0, errors
    return folder / "birds"


@pytest.mark.slow
def test_a_resnet_101_learns_from_xians_inputs_and_takes_other_classes(tmp_path):
    birds, others = (_imported(tmp_path / str(number), unseen) for number, unseen in enumerate(UNSEEN))
    data = ("--dataset", birds, "--split", "proposed", "--features", "pictures", "--encoder", "attributes")
    fields = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    kept = ("--preset", "cub", "--protocol", "clean", "--runs", tmp_path / "runs", "--json")
    code, output, errors = invoked("train", "methods.erpcnet", *data, *fields, *kept)
    assert code == 0, errors
    (outcome,) = events(output, "outcome")
    assert outcome["config"]["backbone"] == "resnet101"
    assert outcome["config"]["sigma"] == 0.5  # the preset's
    (folder,) = (tmp_path / "runs").glob("train-erpcnet-*")
    model = folder / outcome["models"]["clean"]

    dataset = Dataset(birds)
    rows = np.flatnonzero(dataset.labels >= len(COLOURS))
    scores = load_model(model, torch.device("cpu"))[0].unseen_scores(dataset.features("pictures")[rows])
    assert scores.shape == (2 * EACH, 2)

    folder_of_jays = birds.parent / "them/images/006.jay"
    (folder_of_jays / "torn.jpg").write_bytes((folder_of_jays / "p0.jpg").read_bytes()[:200])
    code, output, errors = invoked("predict", model, folder_of_jays, "--json")
    assert (code, errors) == (0, "1 pictures left out (truncated or damaged): torn.jpg\n")
    pictured = {prediction["picture"]: prediction["probability"] for prediction in events(output, "prediction")}
    assert list(pictured) == [f"p{i}.jpg" for i in range(EACH)]
    jays = scores.softmax(dim=1).amax(dim=1)[dataset.labels[rows] == len(COLOURS)]
    assert list(pictured.values()) == pytest.approx(jays.tolist(), abs=1e-3)

    for asked in ((), ("--dataset", others)):
        code, output, errors = invoked("evaluate", model, *asked, "--json")
        assert code == 0, errors
        (found,) = events(output, "metrics")
        assert 0 <= found["harmonic_mean"] <= 1
        if not asked:
            assert found["zsl"] == pytest.approx(outcome["test"]["clean"]["zsl"])
