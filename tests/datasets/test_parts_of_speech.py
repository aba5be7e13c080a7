"""The rules on parsed names; stand-ins for spaCy's tokens have the attributes of its own."""

from dataclasses import dataclass, field

import pytest

from platform.datasets import parts_of_speech
from platform.datasets.parts_of_speech import PartsOfSpeech, parts_in, parts_of_names, published_parts
from platform.datasets.splits import published_class_lists
from platform.errors import InputError

LISTS = ("ntu60", "ntu120", "pku51", "utd_mhad", "nw_ucla", "msr_action3d", "penn_action")


@dataclass
class Token:
    text: str
    lemma_: str
    pos_: str
    dep_: str
    i: int
    children: list["Token"] = field(default_factory=list)

    @property
    def lefts(self):
        return [child for child in self.children if child.i < self.i]


class Parsed(list):
    text = ""


def parsed(*words):
    """words: (text, lemma, part of speech, dependency, position of its head), as spaCy returns them."""
    tokens = Parsed(Token(text, lemma, pos, dep, i) for i, (text, lemma, pos, dep, _) in enumerate(words))
    tokens.text = " ".join(word[0] for word in words)
    for token, (*_, head) in zip(tokens, words, strict=True):
        if head != token.i:
            tokens[head].children.append(token)
    return tokens


@pytest.mark.parametrize("class_list", LISTS)
def test_every_class_of_a_published_list_has_a_verb(class_list):
    parts = published_parts(class_list)
    assert len(parts) == published_class_lists()[class_list]["count"]
    assert all(p.verb and p.noun != "" for p in parts)


def test_the_lists_stand_in_the_published_order_and_agree_with_each_other():
    found = {}
    for class_list in LISTS:
        names = published_class_lists()[class_list]["classes"]
        parts = published_parts(class_list)
        assert parts_of_names(names) == list(parts)
        for name, part in zip(names, parts, strict=True):
            assert found.setdefault(name, part) == part


def test_synses_completions():
    ntu = dict(zip(published_class_lists()["ntu120"]["classes"], published_parts("ntu120"), strict=True))
    assert ntu["drop"] == ("drop", "object")
    assert ntu["headache"] == ("have", "headache")
    assert ntu["reading"] == ("read", "book")  # the paper's own example; the released vocabulary has no noun for it
    verb_only = [name for name, parts in ntu.items() if parts.noun is None]
    assert len(verb_only) == 16
    assert {"sit down", "salute", "jump up"} <= set(verb_only)
    assert published_parts("ntu60") == published_parts("ntu120")[:60]
    assert published_parts("ucf101") is None
    assert published_parts(None) is None


def test_the_unseen_classes_of_ntu_60s_first_split():
    ntu = dict(zip(published_class_lists()["ntu60"]["classes"], published_parts("ntu60"), strict=True))
    unseen = published_class_lists()["ntu60"]["splits"]["55_5"]["unseen"]
    assert {name: tuple(ntu[name]) for name in (list(ntu)[i] for i in unseen)} == {
        "reading": ("read", "book"),
        "writing": ("write", None),
        "put on hat or cap": ("put on", "hat"),
        "jump up": ("jump up", None),
        "touch pocket": ("touch", "pocket"),
    }


def test_a_known_name_needs_no_spacy_and_another_one_says_what_to_install(monkeypatch):
    monkeypatch.setattr(parts_of_speech, "_installed_model", lambda: None)
    assert parts_of_names(["Drink water ", "sit down"]) == [("drink", "water"), ("sit down", None)]
    with pytest.raises(
        InputError, match=r"class `ride a unicycle`: .*pip install -e \.\[pos\].*en_core_web_sm.*"
    ) as error:
        parts_of_names(["sit down", "ride a unicycle"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            [
                ("ride", "ride", "VERB", "ROOT", 0),
                ("a", "a", "DET", "det", 3),
                ("red", "red", "ADJ", "amod", 3),
                ("Unicycle", "unicycle", "NOUN", "dobj", 0),
            ],
            ("ride", "red unicycle"),
        ),
        (
            [
                ("putting", "put", "VERB", "ROOT", 0),
                ("on", "on", "ADP", "prt", 0),
                ("a", "a", "DET", "det", 4),
                ("winter", "winter", "NOUN", "compound", 4),
                ("coat", "coat", "NOUN", "dobj", 0),
            ],
            ("put on", "winter coat"),
        ),
        (
            [
                ("knock", "knock", "VERB", "ROOT", 0),
                ("on", "on", "ADP", "prep", 0),
                ("the", "the", "DET", "det", 3),
                ("door", "door", "NOUN", "pobj", 1),
            ],
            ("knock on", "door"),
        ),
        (
            [
                ("hit", "hit", "VERB", "ROOT", 0),
                ("someone", "someone", "PRON", "dobj", 0),
                ("with", "with", "ADP", "prep", 0),
                ("object", "object", "NOUN", "pobj", 2),
            ],
            ("hit", "someone"),
        ),
        ([("hand", "hand", "NOUN", "compound", 1), ("waving", "wave", "VERB", "ROOT", 1)], ("wave", "hand")),
        ([("jump", "jump", "VERB", "ROOT", 0), ("up", "up", "ADP", "prt", 0)], ("jump up", None)),
        ([("side", "side", "NOUN", "compound", 1), ("kicks", "kick", "NOUN", "ROOT", 1)], ("perform", "side kicks")),
    ],
)
def test_a_parsed_name(words, expected):
    assert parts_in(parsed(*words)) == PartsOfSpeech(*expected)


def test_to_before_a_name_may_show_its_verb(monkeypatch):
    read = {
        "drink tea": parsed(("drink", "drink", "NOUN", "compound", 1), ("tea", "tea", "NOUN", "ROOT", 1)),
        "to drink tea": parsed(
            ("to", "to", "PART", "aux", 1), ("drink", "drink", "VERB", "ROOT", 1), ("tea", "tea", "NOUN", "dobj", 1)
        ),
        "tennis backhand": parsed(
            ("tennis", "tennis", "NOUN", "compound", 1), ("backhand", "backhand", "NOUN", "ROOT", 1)
        ),
        "to tennis backhand": parsed(
            ("to", "to", "ADP", "ROOT", 0),
            ("tennis", "tennis", "NOUN", "compound", 2),
            ("backhand", "backhand", "NOUN", "pobj", 0),
        ),
    }
    monkeypatch.setattr(parts_of_speech, "_language", lambda name: read.__getitem__)
    assert parts_of_names(["drink_tea", "tennis backhand", "throw", "drink_tea"]) == [
        ("drink", "tea"),
        ("perform", "tennis backhand"),
        ("throw", "object"),
        ("drink", "tea"),
    ]


def test_spacys_own_tokens_are_read():
    spacy = pytest.importorskip("spacy")
    doc = spacy.tokens.Doc(
        spacy.blank("en").vocab,
        words=["putting", "on", "the", "red", "hat"],
        pos=["VERB", "ADP", "DET", "ADJ", "NOUN"],
        deps=["ROOT", "prt", "det", "amod", "dobj"],
        heads=[0, 0, 4, 4, 0],
        lemmas=["put", "on", "the", "red", "hat"],
    )
    assert parts_in(doc) == ("put on", "red hat")


@pytest.mark.slow
def test_the_installed_model_finds_verbs_and_nouns():
    if parts_of_speech._installed_model() is None:
        pytest.skip("no English model of spaCy is installed")
    assert parts_of_names(["open the window", "hold a red cup"]) == [("open", "window"), ("hold", "red cup")]
