import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from platform.data import app
from platform.datasets.folder import Dataset
from platform.errors import InputError

ROOT = Path(__file__).parents[1]


def invoke(*arguments):
    """The standard output of a verb; an error is raised, as the caller of `app` sees it."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False, env={"COLUMNS": "200"})
    return result.stdout


@pytest.fixture
def source(tmp_path):
    labels = np.repeat(np.arange(4), 5)
    names = np.array(["bow", "clap", "drop", "wave"])
    features = np.arange(60.0).reshape(20, 3)
    np.savez(tmp_path / "small.npz", features=features, labels=labels, classes=names, unseen=[1, 3])
    np.save(tmp_path / "lb_4.npy", np.eye(4))
    return tmp_path / "small.npz"


def test_an_import_ends_with_what_to_do_next(source, tmp_path):
    output = invoke("import", "npz", source, tmp_path / "out", "--name", "tiny", "--licence", "CC0", "--seed", 4)
    last = output.rstrip().splitlines()[-1]
    chosen = f"--dataset {tmp_path / 'out'} --split official --space search_spaces/sadvae_small.yaml"
    assert last == f"Next: python -m platform.tune methods.sadvae {chosen}"
    card = Dataset(tmp_path / "out").card
    assert (card.name, card.licence, card.train_samples) == ("tiny", "CC0", 16)


def test_what_is_odd_about_the_partitions_is_shown(source, tmp_path):
    with np.load(source) as arrays:
        features = arrays["features"].repeat(20, axis=0)[:20]  # all alike
        np.savez(source, **{**arrays, "features": features})
    output = " ".join(invoke("import", "npz", source, tmp_path / "out").split())
    assert "4 of 4 test samples are byte-identical to training samples (`features`)" in output


def test_what_the_extractor_has_seen_is_shown_split_by_split(source, tmp_path):
    output = " ".join(invoke("import", "npz", source, tmp_path / "first").split())
    assert "? split official: the extractor behind `features` may have been trained on anything" in output
    said = ("--trained-on-classes", "seen:official", "--pretrained-on", "ntu60")
    output = " ".join(invoke("import", "npz", source, tmp_path / "out", *said).split())
    assert "2 of these classes, ntu60" in output
    assert "¶ split official: the extractor behind `features` was trained on ntu60, of whose 60 classes" in output
    facts = json.loads(invoke("info", tmp_path / "out", "--json"))
    assert facts["features"]["features"]["trained_on"] == {
        "classes": ["bow", "drop"],
        "other": ["ntu60"],
        "source": "as its user says",
    }
    ((name, (found,)),) = facts["findings"].items()
    assert (name, "ntu60" in found) == ("split official", True)


def test_class_text_options_repeat_and_take_names(source, tmp_path):
    np.save(tmp_path / "ad_4.npy", np.ones((4, 2)))
    (tmp_path / "llm.txt").write_text("a\nb\nc\nd\n")
    invoke(
        *("import", "npz", source, tmp_path / "out", "--text", tmp_path / "lb_4.npy"),
        *("--text", f"actions={tmp_path / 'ad_4.npy'}", "--descriptions", f"llm={tmp_path / 'llm.txt'}"),
    )
    dataset = Dataset(tmp_path / "out")
    assert dataset.embedding_names == ["actions", "lb_4"]
    assert dataset.classes[3].descriptions == {"llm": ["d"]}
    assert json.loads(invoke("info", tmp_path / "out", "--json"))["texts"] == ["name", "llm"]


def test_texts_by_body_part_and_parts_of_speech_are_what_text_chooses_from(source, tmp_path):
    (tmp_path / "parts.csv").write_text("name,Head,Left hand\na,b,c\nd,e,f\ng,h,i\nj,k,l\n")
    (tmp_path / "pos.csv").write_text("name,verb,noun\nbow,bow,\nclap,clap,hands\ndrop,drop,object\nwave,wave,hand\n")
    options = ("--descriptions", tmp_path / "parts.csv", "--parts-of-speech", tmp_path / "pos.csv")
    output = invoke("import", "npz", source, tmp_path / "out", *options)
    assert "name, verb, noun, parts, parts.head, parts.left-hand" in output
    classes = Dataset(tmp_path / "out").classes
    assert [(c.verb, c.noun) for c in classes[:2]] == [("bow", None), ("clap", "hands")]
    assert classes[3].descriptions["parts"] == ["k", "l"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "a/b=x.npy"], "expected NAME=FILE, where NAME holds no slash"),
        (["--text", "x.npy", "--text", "y/x.npy"], "`x` is given twice"),
        (["--descriptions", "verb.txt"], "choose another name, not name, verb, noun or one with +"),
        (["--partition", "xsub"], "--partition does not apply to layout npz"),
        (["--validation", "val"], "--validation does not apply to layout npz"),
        (["--workers", "2"], "--workers does not apply to layout npz"),
        (["--trained-on-classes", "some"], "--trained-on-classes some: expected none, all, seen:SPLIT"),
        (["--trained-on-classes", "seen:other"], "seen:other: no such split; there is official"),
    ],
)
def test_options_that_cannot_be_are_refused(source, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        invoke("import", "npz", source, tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_pictures_are_imported_and_info_says_so(tmp_path):
    for name in ("bow", "clap", "drop", "wave"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (30, 20), "red").save(tmp_path / "pictures" / name / f"{i}.jpg")
    output = invoke("import", "images", tmp_path / "pictures", tmp_path / "out", "--size", 16, "--workers", 0)
    command = f"Next: python -m platform.train METHOD --dataset {tmp_path / 'out'} --split random:2:0"
    assert output.rstrip().splitlines()[-1] == command
    output = invoke("info", tmp_path / "out", "--verify")
    for words in ("pictures (image)", "pictures, 3 x 16 x 16", "shorter edge resized to 16", "as they were written"):
        assert words in output
    facts = json.loads(invoke("info", tmp_path / "out", "--json"))["features"]["pictures"]
    assert (facts["kind"], facts["side"], facts["dimension"]) == ("pictures", 16, 768)


def test_an_existing_folder_is_refused_before_the_source_is_read(tmp_path):
    with pytest.raises(InputError, match="exists already"):
        invoke("import", "npz", tmp_path / "missing.npz", tmp_path)


def test_info_says_what_there_is(source, tmp_path):
    invoke("import", "npz", source, tmp_path / "out", "--text", tmp_path / "lb_4.npy")
    output = invoke("info", tmp_path / "out", "--verify")
    for words in ("20: 16 train, 4 test", "4: bow, clap, drop, wave", "lb_4", "official", "as they were written"):
        assert words in output
    assert "SIMULATED" not in output


def test_info_as_json_is_one_object(source, tmp_path):
    invoke("import", "npz", source, tmp_path / "out")
    facts = json.loads(invoke("info", tmp_path / "out", "--json", "--verify"))
    assert facts["class_names"] == ["bow", "clap", "drop", "wave"]
    assert facts["splits"]["official"]["unseen"] == ["clap", "wave"]
    assert facts["damaged"] == []
    assert facts["simulated"] is False


def test_references_are_put_into_a_folder_and_shown(source, tmp_path):
    folder, table = tmp_path / "data", tmp_path / "captions.csv"
    invoke("import", "npz", source, folder)
    ids = Dataset(folder).ids.to_pylist()
    table.write_text(f'sample,caption\n{ids[0]},"she waves, twice"\n{ids[0]},a wave\n')
    said = CliRunner().invoke(app, ["references", str(folder), str(table)])
    assert f"2 captions of 1 samples stand in {folder}" in said.stdout
    assert f"{len(ids) - 1} samples have no caption and do not count in CIDEr: {ids[1]}" in said.stderr
    assert Dataset(folder).references == [["she waves, twice", "a wave"], *[[]] * (len(ids) - 1)]
    assert "2 captions of 1 samples" in invoke("info", folder)
    table.write_text("sample,caption\nelsewhere,a wave\n")
    with pytest.raises(InputError, match=f"no sample `elsewhere` in the data folder; samples are named as `{ids[0]}`"):
        invoke("references", folder, table)
    assert Dataset(folder).references[0] == ["she waves, twice", "a wave"]


def test_verify_names_a_changed_file(source, tmp_path):
    invoke("import", "npz", source, tmp_path / "out")
    (tmp_path / "out" / "classes.json").write_text((tmp_path / "out" / "classes.json").read_text() + " ")
    with pytest.raises(InputError, match=r"damaged: classes\.json; import the data again"):
        invoke("info", tmp_path / "out", "--verify")


def test_simulated_data_say_so(tmp_path):
    output = invoke("simulate", tmp_path / "sim", "--subjects", 2, "--cameras", 1, "--repetitions", 1, "--seed", 5)
    assert "SIMULATED" in output
    assert f"--dataset {tmp_path / 'sim'} --split" in output
    assert json.loads(invoke("info", tmp_path / "sim", "--json"))["simulated"] is True


def test_as_a_process_a_wrong_file_is_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, "-m", "platform.data", "import", "npz", str(tmp_path / "no.npz"), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"error: {tmp_path / 'no.npz'}: no such file or folder"]
    assert done.stdout == ""
