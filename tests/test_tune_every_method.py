"""`python -m platform.tune METHOD` alone works for every method of the repository, and for one from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from verbs import PATIENCE, ROOT

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.folder import write_dataset
from platform.datasets.trained_on import NOT_TRAINED

pytestmark = pytest.mark.slow

BRIEF = ["--folds", "1", "--test-seeds", "1", "--ensemble", "1", "--protocol", "clean", "--runs", "runs"]
TRIALS = {"eszsl": "2", "ridge": "2"}  # of their one stage; the others have two
SHORT = {  # what makes a trial short; the ranges are the space's own
    **{name: ["epochs=1"] for name in ("sadvae", "synse", "cadavae", "revise", "jpose", "smie")},
    "claster": ["epochs=1", "iterations=10", "projection_steps=50"],
    "eszsl": [],
    "ridge": [],
}
PICTURE_SIDE = 64
ERPCNET = [
    "weights=none", f"side={PICTURE_SIDE}", "kernel=2", "stride=1", "joint_hidden=16", "epochs=2", "policy_epochs=1",
    "policy_iterations=1", "policy_episodes=8",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An empty folder to start the verb in, where the simulated data are made once."""
    return tmp_path_factory.mktemp("place")


def tuned(place, *arguments):
    """Exit code, standard output and standard error of a search that is asked for in `place`."""
    command = [sys.executable, "-m", "platform.tune", *map(str, arguments), *BRIEF]
    # threads that wait for each other make a tiny training slow where other processes want the CPUs too
    environment = os.environ | {"OMP_THREAD_LIMIT": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{place}"}
    ran = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    return ran.returncode, ran.stdout, ran.stderr


def check_ended(code, output, errors, space, trials=2):
    assert code == 0, output + errors
    assert output.count(f"\nspace {space}") == 1
    assert "best trials, on pseudo-unseen validation classes, %" in output
    assert f"\n{trials} trials, 0 stopped early, 0 failed; the best is " in output
    assert re.search(r"│ clean +│ single +│ +\d", output)
    assert "Compare the runs in MLflow: mlflow ui" in output


@pytest.mark.parametrize("name", SHORT)
def test_a_method_is_tuned_on_the_default_data(place, name):
    fields = [part for field in SHORT[name] for part in ("--set", field)]
    ended = tuned(place, f"methods.{name}", "--trials", TRIALS.get(name, "1,1"), *fields)
    small = f"{name}_small.yaml: for fewer than "
    check_ended(*ended, f"search_spaces/{f'{name}.yaml' if name in TRIALS else small}")


def test_a_method_of_pictures_says_what_to_give_and_is_tuned_on_pictures(place):
    code, output, errors = tuned(place, "methods.erpcnet")
    assert (code, output) == (2, "")
    assert errors == (
        "error: methods.erpcnet learns from pictures or pixels, but `pose` is numbers; give --dataset a folder with "
        "pictures or pixels (python -m platform.data import images makes one of pictures)\n"
    )
    data = ["--dataset", write_pictures(place / "pictures"), "--encoder", "attributes"]
    fields = [part for field in ERPCNET for part in ("--set", field)]
    ended = tuned(place, "methods.erpcnet", *data, "--trials", "1,1", *fields)
    check_ended(*ended, "search_spaces/erpcnet_small.yaml: for fewer than ")


def test_the_example_of_a_new_method_is_tuned_as_it_stands(place):
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", contributing, re.DOTALL) if "MyMethod" in code]
    (place / "my_lab").mkdir()
    (place / "my_lab" / "my_method.py").write_text(example)
    ended = tuned(place, "my_lab.my_method", "--trials", "2", "--set", "epochs=1")
    check_ended(*ended, "the fields of MyConfig that say a range: learning_rate, hidden\n")


def write_pictures(folder: Path) -> Path:
    """Pictures of 8 classes, each in its own colour; its attributes tell it."""
    rng = np.random.default_rng(0)
    names = ["crow", "duck", "finch", "gull", "jay", "owl", "tern", "wren"]
    colours = np.array([[c >> 2 & 1, c >> 1 & 1, c & 1] for c in range(8)])
    labels = np.tile(np.arange(len(names)), 12)
    noise = rng.integers(0, 60, (len(labels), 3, PICTURE_SIDE * PICTURE_SIDE))
    contents = Contents(
        name="colours",
        modality="image",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=n, attributes=[*map(float, c), 0.5]) for n, c in zip(names, colours, strict=True)],
        labels=labels,
        train=np.arange(len(labels)) < 64,
        features={
            "pixels": FeatureArray(
                (noise + 190 * colours[labels][..., None]).reshape(len(labels), -1).astype(np.uint8),
                "made here",
                kind="pixels",
                trained_on=NOT_TRAINED,
            )
        },
        splits={"two": ClassSplit(unseen=["jay", "wren"], source="made up")},
    )
    return write_dataset(contents, folder).folder
