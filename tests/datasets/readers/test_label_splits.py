import numpy as np
import pytest

from platform.datasets.readers.label_splits import read_label_splits
from platform.errors import InputError

NAMES = [f"class {i}" for i in range(8)]


def write_lists(folder, **lists):
    folder.mkdir(parents=True, exist_ok=True)
    for name, indices in lists.items():
        np.save(folder / f"{name}.npy", np.array(indices))


def test_unseen_and_pseudo_unseen_lists_are_read(tmp_path):
    write_lists(tmp_path, ru2=[5, 1], rv2_0=[0, 2], rv2_1=[3, 4], rs6=[0, 2, 3, 4, 6, 7])
    split = read_label_splits(tmp_path, NAMES, None)["ru2"]
    assert split.unseen == ["class 1", "class 5"]
    assert split.pseudo_unseen == [["class 0", "class 2"], ["class 3", "class 4"]]


def test_an_incomplete_seen_list_is_not_trusted_but_accepted(tmp_path):
    write_lists(tmp_path, ru2=[5, 1], rs6=[0, 2, 3], rs4_0=[1, 5])
    assert read_label_splits(tmp_path, NAMES, None)["ru2"].unseen == ["class 1", "class 5"]


def test_a_folder_of_several_data_sets_gives_only_the_fitting_splits(tmp_path):
    write_lists(tmp_path, ru2=[5, 1], rs6=[0, 2, 3, 4, 6, 7], ru3=[90, 91, 92], rs97=[1, 2])
    assert list(read_label_splits(tmp_path, NAMES, None)) == ["ru2"]


def test_a_subfolder_named_after_the_class_list_is_taken(tmp_path):
    write_lists(tmp_path / "ntu60", ru5=[10, 11, 19, 26, 56])
    splits = read_label_splits(tmp_path, [str(i) for i in range(60)], "ntu60")
    assert splits["ru5"].unseen == ["10", "11", "19", "26", "56"]
    assert "published split ntu60/55_5" in splits["ru5"].source


@pytest.mark.parametrize("class_list", ["ntu60", None])
def test_the_superseded_list_is_named_so(tmp_path, class_list):
    write_lists(tmp_path, ru12=[5, 12, 16, 25, 32, 34, 40, 41, 48, 50, 51, 57])
    splits = read_label_splits(tmp_path, [str(i) for i in range(60)], class_list)
    assert list(splits) == ["ru12-superseded"]
    assert "SUPERSEDED" in splits["ru12-superseded"].source


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"ru2": [5, 1], "rs6": [0, 1]}, r"rs6\.npy: lists class 1, which ru2\.npy names unseen"),
        ({"ru2": [5, 1], "rs6": [0, 8]}, r"rs6\.npy: class index 8 is outside the 8 classes \(0 to 7\)"),
        ({"ru2": [5, 8]}, r"ru2\.npy: class index 8 is outside"),
        ({"ru2": [5, 5]}, r"ru2\.npy: lists 1 classes, its name says 2"),
        ({"rs6": [0, 1]}, r"no class split for 8 classes \(unseen lists found: none"),
        ({"ru3": [1, 2, 3], "rs97": [0]}, r"no class split for 8 classes \(unseen lists found: ru3\)"),
    ],
)
def test_a_wrong_list_is_named(tmp_path, lists, message):
    write_lists(tmp_path, **lists)
    with pytest.raises(InputError, match=message):
        read_label_splits(tmp_path, NAMES, None)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="no such folder; --label-splits takes"):
        read_label_splits(tmp_path / "nowhere", NAMES, None)
