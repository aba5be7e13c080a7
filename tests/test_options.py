"""What the verbs' options mean together."""

from dataclasses import replace

import numpy as np
import pytest
from verbs import invoked, small_options, write_small_dataset

from platform.compare import AblationOptions, _rows
from platform.datasets.contents import ClassInfo, Contents, FeatureArray
from platform.datasets.folder import Dataset, write_dataset
from platform.datasets.text import ClassText
from platform.errors import InputError
from platform.options import DataOptions, named_features, written
from platform.setup import ConfiguredMethod, Setup
from platform.zeroshot.problem import ProblemOptions

BOTH = ("verb+noun", "concatenate")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data folder with class embeddings: verbs and nouns of one width, both in one, and other ones."""
    dataset = Dataset(write_small_dataset(tmp_path_factory.mktemp("home") / "small"))
    rng = np.random.default_rng(1)
    for name, width in (("verbs", 6), ("nouns", 6), ("words", 12), ("wide", 8)):
        dataset.add_embedding(name, rng.normal(size=(8, width)).astype(np.float32))
    return dataset.folder


def problem(folder, method, encoder="minilm", text=None, combine=None, **values):
    configured = ConfiguredMethod.of(method, values)
    asked = DataOptions(dataset=folder, split="two", encoder=encoder, text=text, combine=combine)
    setup = Setup(configured, asked.found(configured.text_parts))
    setup.check()
    return setup.data.problem


@pytest.mark.parametrize(
    ("method", "values", "given", "expected"),
    [
        ("methods.synse", {}, {}, BOTH),
        ("methods.jpose", {}, {}, BOTH),
        ("methods.synse", {"parts": "single"}, {}, ("name", "mean")),
        ("methods.sadvae", {}, {}, ("name", "mean")),
        ("methods.synse", {}, {"text": "verb+name"}, ("verb+name", "concatenate")),
        ("methods.synse", {"parts": "single"}, {"text": "verb"}, ("verb", "mean")),
        ("methods.synse", {"parts": "single"}, {"encoder": "attributes"}, ("name", "mean")),
        # an embedding that holds verb and noun is said to
        ("methods.synse", {}, {"encoder": "words", "text": "verb+noun", "combine": "concatenate"}, BOTH),
        ("methods.jpose", {}, {"encoder": "verbs+nouns"}, ("name", "mean")),
        ("methods.sadvae", {}, {"encoder": "words"}, ("name", "mean")),
    ],
)
def test_a_method_gets_the_class_text_that_it_takes(folder, method, values, given, expected):
    text = problem(folder, method, **given, **values).text
    assert (text.text, text.combine) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"text": "name"}, "not --text name --combine concatenate; leave both out"),
        ({"text": "noun+verb"}, "not --text noun\\+verb --combine concatenate; leave both out"),
        ({"text": "name+verb"}, "not --text name\\+verb --combine concatenate; leave both out"),
        ({"text": "verb+noun", "combine": "mean"}, "not --text verb\\+noun --combine mean"),
        ({"text": "verb+noun+name"}, "not --text verb\\+noun\\+name"),
        (
            {"encoder": "words"},
            "nothing says that `words` holds these; if it does, give --text verb\\+noun",
        ),
        ({"encoder": "attributes"}, "nothing says that `attributes` holds these"),
        ({"encoder": "minilm+minilm"}, "not --encoder minilm\\+minilm; give one text encoder, or 2 class embeddings"),
        ({"encoder": "verbs+wide"}, "not --encoder verbs\\+wide"),
        ({"encoder": "attributes+words"}, "not --encoder attributes\\+words"),
    ],
)
@pytest.mark.parametrize("method", ["methods.synse", "methods.jpose"])
def test_halves_that_are_no_verb_and_noun_are_refused(folder, method, given, message):
    expected = rf"{method} takes the verb and the noun of a class, one vector after the other, .*{message}"
    with pytest.raises(InputError, match=expected) as refused:
        problem(folder, method, **given)
    assert ("parts=single" in str(refused.value)) == (method == "methods.synse")


def test_every_text_of_a_description_set_counts(tmp_path):
    from platform.datasets.folder import write_dataset
    from platform.datasets.simulator import simulate

    written = write_dataset(simulate(subjects=2, cameras=1, repetitions=1), tmp_path / "simulated").folder
    asked = DataOptions(dataset=written, split="12-unseen", text="sentence", combine="concatenate")
    setup = Setup(ConfiguredMethod.of("methods.synse", {}), asked.found())
    with pytest.raises(InputError, match="not --text sentence"):  # three sentences a class
        setup.check()


@pytest.mark.parametrize("verb", ["train", "tune"])
def test_the_verbs_refuse_it_before_anything_is_made(folder, tmp_path, verb):
    runs = tmp_path / "runs"
    data = ("--dataset", folder, "--split", "two", "--encoder", "attributes", "--runs", runs)
    code, _, errors = invoked(verb, "methods.synse", *data)
    assert code == 2
    assert errors.startswith("error: methods.synse takes the verb and the noun of a class")
    assert errors.count("\n") == 1
    assert not runs.exists()


def test_an_embedding_said_to_hold_verb_and_noun_trains(folder, tmp_path):
    data = small_options(folder, tmp_path / "runs")[:4]
    said = ("--encoder", "words", "--text", "verb+noun", "--combine", "concatenate", "--runs", tmp_path / "runs")
    small = [part for field in ("cycle=12", "alpha_start=4", "epochs=1", "z_s=4") for part in ("--set", field)]
    code, _, errors = invoked("train", "methods.synse", *data, *said, *small, "--json")
    assert code == 0, errors


def test_an_ablations_data_have_the_text_that_its_rows_take(folder):
    def text(table):
        (made,) = _rows(AblationOptions(table=table, dataset=folder), ["two"]).data
        return made.problem.text.text, made.problem.text.combine

    assert text("synse-2") == BOTH
    assert text("sadvae-6") == ("name", "mean")


def test_a_table_that_compares_class_texts_takes_several(folder):
    asked = AblationOptions(table="sadvae-G", dataset=folder, encoder="attributes,verbs", text="name,verb")
    several = _rows(asked, ["two"]).data
    assert [(one.problem.text.encoder, one.problem.text.text) for one in several] == [
        ("attributes", "name"),
        ("attributes", "verb"),
        ("verbs", "name"),
        ("verbs", "verb"),
    ]
    (one,) = _rows(replace(asked, table="sadvae-B"), ["two"]).data
    assert one.problem.text.encoder == "attributes,verbs"  # a path may hold a comma


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
    chosen = ProblemOptions(dataset=tmp_path, split="ru5", text=text, masked_features="masked")
    assert written(chosen, "standard") == (
        f"--dataset {tmp_path} --split ru5 --encoder attributes --text verb+noun --combine concatenate "
        "--normalise standard --masked-features masked"
    )


def test_features_are_no_masked_version_of_themselves(folder):
    with pytest.raises(InputError, match="--masked-features random: these are the features themselves"):
        DataOptions(dataset=folder, split="two", features="random", masked_features="random").found()
