"""Readers on the data as their makers publish them, from the folder named by UNSEEN_DATA."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from platform.datasets.class_spelling import positions, published_list_of, published_positions
from platform.datasets.folder import write_dataset
from platform.datasets.parts_of_speech import published_parts
from platform.datasets.readers import ImportOptions, read
from platform.datasets.readers.class_files import class_names, description_sets
from platform.datasets.readers.label_splits import read_label_splits
from platform.datasets.simulator.filmed_skeletons import filmed_skeletons
from platform.datasets.splits import published_splits
from platform.errors import InputError

DATA = Path(os.environ.get("UNSEEN_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve()

pytestmark = pytest.mark.real


def real(path):
    """A path in the real data; the test is skipped, saying so, where it is absent."""
    if not (DATA / path).exists():
        pytest.skip(f"no {path} in UNSEEN_DATA ({DATA})")
    return DATA / path


def test_utd_mhad_skeletons_and_features_stand_side_by_side(tmp_path):
    real("utd_mhad/Skeleton.zip")
    features = np.load(real("utd_mhad/utd_shiftgcn.npz"))
    dataset = write_dataset(read("utd_mhad", DATA / "utd_mhad", ImportOptions()), tmp_path / "utd")
    assert list(dataset.card.features) == ["shiftgcn", "ntu60_logits", "pose"]
    np.testing.assert_array_equal(dataset.features("shiftgcn"), features["f"])
    assert dataset.card.samples == 861
    assert dataset.card.train_samples == int((features["s"] % 2 == 1).sum())
    assert {"ru5", "ru9", "ru13"} <= set(dataset.splits)
    lengths = [dataset.skeleton(i).shape[0] for i in range(861)]
    assert (min(lengths), max(lengths)) == (41, 125)
    assert dataset.skeleton(0).shape[1:] == (1, 20, 3)


def test_utd_mhad_is_drawn_in_the_look_of_the_simulated_clips():
    contents = read("utd_mhad", real("utd_mhad/Skeleton.zip"), ImportOptions())
    clips = filmed_skeletons(contents, side=32)
    assert clips.frames.shape == (861, 4, 3, 32, 32)
    assert {"ru5", "ru9", "ru13"} <= set(clips.splits)
    assert np.mean(np.abs(clips.joints - 0.5) < 0.5) > 0.99  # nearly all within the picture
    left, right = clips.joints[:, :, 4, 0], clips.joints[:, :, 8, 0]  # shoulders: the body's left is at the right
    assert np.mean(left > right) > 0.95


def test_utd_mhad_class_names_are_the_makers(tmp_path):
    assert class_names(real("utd_mhad/classes.csv"), "utd_mhad") == class_names(None, "utd_mhad")


def test_utd_mhad_label_splits_are_the_built_in_ones():
    names = class_names(None, "utd_mhad")
    for name, split in read_label_splits(real("splits/utd_mhad"), names, "utd_mhad").items():
        assert f"the same unseen classes as the published split utd_mhad/{name}" in split.source


def test_awa1_as_plain_features():
    contents = read("npz", real("awa1/awa1_bow_pca512.npz"), ImportOptions())
    contents.check()
    assert contents.features["features"].values.shape == (30475, 512)
    assert len(contents.splits["official"].unseen) == 10
    assert len(contents.classes[0].attributes) == 85


def test_awa1_features_in_another_row_order_than_the_proposed_splits_expect():
    features, source = real("awa1/awa1_bow_pca512.npz"), real("attributes/AWA1")
    with pytest.raises(
        InputError, match=r"not in the order.*trainval_loc and test_unseen_loc share.*--locations ignore"
    ):
        read("xian", source, ImportOptions(features=features))
    contents = read("xian", source, ImportOptions(features=features, locations="ignore"))
    contents.check()
    assert len(contents.splits["proposed"].unseen) == 10
    assert [len(fold) for fold in contents.splits["proposed"].pseudo_unseen] == [13, 13, 13]


@pytest.mark.parametrize(
    ("data_set", "class_list"), [("AWA1", "awa2"), ("AWA2", "awa2"), ("CUB", "cub"), ("SUN", "sun"), ("APY", "apy")]
)
def test_proposed_splits_hold_the_published_classes(tmp_path, data_set, class_list):
    source = real(f"attributes/{data_set}")
    names = class_names(None, class_list)
    labels = np.arange(len(names)).repeat(2)
    np.savez(tmp_path / "features.npz", features=np.ones((len(labels), 2)), labels=labels)
    contents = read("xian", source, ImportOptions(features=tmp_path / "features.npz", locations="ignore"))
    contents.check()
    assert contents.class_list == class_list
    built_in = published_splits(class_list, names)["proposed"]
    assert set(contents.splits["proposed"].unseen) == set(built_in.unseen)


def test_awa2_sample_labels_fit_the_proposed_positions(tmp_path):
    labels = np.load(real("attributes/AWA2/labels_0based_xlsa17_order.npy"))
    np.savez(tmp_path / "features.npz", features=np.ones((len(labels), 2), np.float32), labels=labels)
    contents = read("xian", real("attributes/AWA2"), ImportOptions(features=tmp_path / "features.npz"))
    contents.check()
    unseen = np.isin([c.name for c in contents.classes], contents.splits["proposed"].unseen)
    assert (int(contents.train.sum()), int(unseen[contents.labels].sum())) == (23527, 7913)


def test_synse_label_splits_and_the_superseded_one():
    folder = real("class_text/synse/label_splits")
    splits = read_label_splits(folder, class_names(None, "ntu60"), "ntu60")
    assert list(splits) == ["ru12-superseded", "ru5"]
    assert "SUPERSEDED" in splits["ru12-superseded"].source
    assert "published split ntu60/55_5" in splits["ru5"].source
    assert len(splits["ru5"].pseudo_unseen[0]) == 5
    larger = read_label_splits(folder, class_names(None, "ntu120"), "ntu120")
    assert list(larger) == ["ru24"]
    assert "published split ntu120/96_24" in larger["ru24"].source


@pytest.mark.parametrize(
    ("file", "class_list"),
    [
        ("sadvae/ntu60_llm.txt", "ntu60"),
        ("sadvae/ntu120_llm.txt", "ntu60"),
        ("sadvae/ntu120_llm.txt", "ntu120"),
        ("sadvae/ntu60.csv", "ntu60"),
        ("sadvae/ntu120.csv", "ntu120"),
        ("sadvae/pku51.csv", "pku51"),
        ("smie/ntu60_des.txt", "ntu60"),
        ("smie/ntu120_des.txt", "ntu120"),
        ("smie/pku_des.txt", "pku51"),
        ("elaborative/UCF101.json", "ucf101"),
        ("elaborative/HMDB51.json", "hmdb51"),
        ("elaborative/OlympicSports16.json", "olympic16"),
    ],
)
def test_published_class_text_gives_every_class_a_text(file, class_list):
    names = class_names(None, class_list)
    (texts,) = description_sets("set", real(f"class_text/{file}"), names, class_list).values()
    assert len(texts) == len(names)
    assert all(len(several) == 1 and several[0] for several in texts)


@pytest.mark.parametrize(
    ("sheet", "class_list", "last"),
    [
        ("", "ntu120", "make a fist with their thumb"),
        ("#NTU-RGB+D", "ntu60", "take steps away from each other"),
        ("", "utd_mhad", "stand with feet shoulder-width apart"),
        ("", "nw_ucla", "lift, support, or transport"),
    ],
)
def test_purls_describes_parts_phases_and_the_whole(sheet, class_list, last):
    pytest.importorskip("openpyxl")
    path = real("class_text/purls_descriptions.xlsx")
    names = class_names(None, class_list)
    sets = description_sets("purls", path.with_name(path.name + sheet), names, class_list)
    kinds = ("head", "hands", "torso", "legs", "start", "middle", "end", "global-desc")
    assert list(sets) == ["purls", *(f"purls.{kind}" for kind in kinds)]
    assert {len(several) for several in sets["purls"]} == {8}
    assert sets["purls.global-desc"][-1][0].startswith(last)


def test_parts_of_speech_of_ntu_are_synses_released_vocabulary_but_for_the_papers_reading_book():
    folder = real("class_text/synse/language_data")
    found = {kind: np.load(folder / f"{kind}s_vocab.npy") for kind in ("verb", "noun")}
    rows = {kind: np.load(folder / f"{kind}s_ohe.npy").argmax(axis=1) for kind in ("verb", "noun")}
    assert np.load(folder / "labels.npy").tolist() == class_names(None, "ntu120")
    released = [tuple(str(found[kind][rows[kind][i]]) for kind in ("verb", "noun")) for i in range(120)]
    released[10] = ("read", "book")  # SynSE, Section 2.6; "#" in the vocabulary
    assert [(p.verb, p.noun or "#") for p in published_parts("ntu120")] == released


def truze_lists(file):
    """{class list: {part: class names}} of ZSL.txt or FSL.txt."""
    text = real(f"splits/truze/{file}").read_text()
    _, ucf101, hmdb51 = re.split(r"#*(?:UCF101|HMDB51)\n", text)
    parts = re.compile(r"(\w+) ?\((\d+) classes\): ([^:]+?)\.(?=\s|$)")
    lists = {}
    for class_list, section in (("ucf101", ucf101), ("hmdb51", hmdb51)):
        found = {part: re.split(r",\s*", names.strip()) for part, _, names in parts.findall(section)}
        assert [len(names) for names in found.values()] == [int(count) for _, count, _ in parts.findall(section)]
        lists[class_list] = found
    return lists


@pytest.mark.parametrize(("file", "split"), [("ZSL.txt", "truze"), ("FSL.txt", "truze-fsl")])
@pytest.mark.parametrize("class_list", ["ucf101", "hmdb51"])
def test_truzes_lists_are_the_built_in_splits(file, split, class_list):
    parts, names = truze_lists(file)[class_list], class_names(None, class_list)
    assert published_positions([n for part in parts.values() for n in part], class_list)  # each class exactly once
    found = {part: sorted(positions(listed, names)) for part, listed in parts.items()}
    built_in = published_splits(class_list, names)[split]
    assert [names[i] for i in found["Testing"]] == built_in.unseen
    folds = [[names[i] for i in found["Validation"]]] if "Validation" in found else []
    assert folds == built_in.pseudo_unseen


def test_the_word_vectors_authors_class_names_are_ucf101s():
    names = np.load(real("class_text/ucf101_word2vec.npz"))["classes"].tolist()
    assert published_list_of(names) == "ucf101"
    known = class_names(None, "ucf101")
    spelled = dict(zip(names, published_positions(names, "ucf101"), strict=True))
    assert known[spelled["Weight Lifting"]] == "clean and jerk"


def test_elaborative_descriptions_are_found_for_folder_names(tmp_path):
    for name in class_names(None, "ucf101"):
        folder = tmp_path / "".join(word.capitalize() for word in name.split())
        folder.mkdir()
        np.save(folder / "v.npy", np.ones(2, np.float32))
    path = real("class_text/elaborative/UCF101.json")
    contents = read("per_video", tmp_path, ImportOptions(descriptions={"elaborative": path}))
    contents.check()
    assert contents.class_list == "ucf101"
    expected = description_sets("elaborative", path, class_names(None, "ucf101"))["elaborative"]
    assert [c.descriptions["elaborative"] for c in contents.classes] == expected


def test_caltechs_pictures_are_kept(tmp_path):
    contents = read("images", real("images/caltech40.zip"), ImportOptions(size=128))
    dataset = write_dataset(contents, tmp_path / "caltech40")
    assert dataset.features("pictures").shape == (2313, 3, 128, 128)
    assert len(dataset.classes) == 40
    assert dataset.card.notes == ()
    assert dataset.ids[0].as_py() == "Faces/image_0004.jpg"
    means = np.array([dataset.features()[dataset.labels == label].decoded().float().mean() for label in range(40)])
    assert 40 < means.min() < means.max() < 250
