"""What options of several verbs mean together."""

import numpy as np
import pytest

from platform.datasets.contents import ClassInfo, Contents, FeatureArray
from platform.datasets.folder import write_dataset
from platform.datasets.text import ClassText
from platform.errors import InputError
from platform.options import named_features, written
from platform.zeroshot.problem import ProblemOptions


@pytest.fixture
def dataset(tmp_path):
    """A function of names, to a data folder with feature sets of these."""

    def written(*names):
        contents = Contents(
            name="made",
            modality="skeleton",
            licence="none",
            source="made here",
            classes=[ClassInfo(name=name) for name in ("bow", "wave")],
            labels=np.arange(4) % 2,
            train=np.arange(4) < 2,
            features={name: FeatureArray(np.ones((4, 3)), f"extractor of {name}; and more") for name in names},
        )
        return write_dataset(contents, tmp_path / "-".join(names))

    return written


def test_the_only_feature_set_needs_no_name(dataset):
    assert named_features(dataset("pose"), None) == "pose"


def test_of_several_feature_sets_none_is_taken_in_silence(dataset):
    opened = dataset("pose", "stgcn")
    with pytest.raises(InputError) as refused:
        named_features(opened, None)
    said = f"--features is needed: {opened.folder} has pose (extractor of pose); stgcn (extractor of stgcn)"
    assert str(refused.value) == said
    assert named_features(opened, "stgcn") == "stgcn"
    with pytest.raises(InputError, match="no feature set `i3d`; it has pose, stgcn"):
        named_features(opened, "i3d")


def test_a_problem_is_written_as_it_was_asked_for(tmp_path):
    plain = ProblemOptions(dataset=tmp_path / "two words", split="ru5", features="pose")
    assert written(plain) == f"--dataset '{tmp_path}/two words' --split ru5 --features pose"
    text = ClassText(encoder="attributes", text="verb+noun", combine="concatenate")
    chosen = ProblemOptions(dataset=tmp_path, split="ru5", text=text, normalise="standard", masked_features="masked")
    assert written(chosen) == (
        f"--dataset {tmp_path} --split ru5 --encoder attributes --text verb+noun --combine concatenate "
        "--normalise standard --masked-features masked"
    )
