"""CIDEr-D against the COCO captions' evaluation: the values are those that pycocoevalcap 1.2 gives."""

import pytest

from platform.errors import InputError
from platform.zeroshot.cider import cider

CAPTIONS = [
    "a man playing a harmonica",
    "a man trimming bushes in the garden",
    "a worker pouring concrete into the pit of a concrete foundation",
    "the the the the",
    "a dog",
    "",
    "a man is playing a harmonica in the middle of the screen",
]
REFERENCES = [
    ["a man singing and playing a harmonica", "a todd playing with a harmonica"],
    [
        "a man using a spray gun to paint a hedge",
        "a man trimming topiary bushes in the garden",
        "someone trims a bush",
    ],
    ["a construction worker pouring concrete into the pit of a concrete foundation"],
    ["the dog runs over the field", "the brown dog is running"],
    ["a dog catches a ball in the snow"],
    ["a cat sleeps"],
    ["a man singing and playing a harmonica in the middle of the screen"],
]


def test_the_values_are_pycocoevalcaps():
    assert cider(CAPTIONS, REFERENCES) == pytest.approx(3.1161912415404567, abs=1e-9)
    assert cider(CAPTIONS[:3], REFERENCES[:3]) == pytest.approx(4.511484204080934, abs=1e-9)


def test_one_sample_changes_the_mean_by_its_own_score():
    # pycocoevalcap's scores of the seven samples
    scores = [2.446676757651016, 1.9868190967942958, 8.573571884085556, 0.1374743911057785, 1.1313343525693969, 0.0]
    emptied = [*CAPTIONS[:6], ""]
    assert 7 * cider(emptied, REFERENCES) == pytest.approx(sum(scores), abs=1e-9)


def test_the_references_themselves_have_ten_and_words_in_common_with_none_have_nothing():
    own = ["a man throws the red ball", "two women kick it over there", "someone jumps into deep snow"]
    assert cider(own, [[text] for text in own]) == pytest.approx(10)
    assert cider(["nothing", "of", "this"], [[text] for text in own]) == 0
    assert cider(own[:1], [own[:1]]) == 0  # what stands in every sample's references weighs nothing


def test_case_and_punctuation_do_not_count():
    told = [["A man, throwing; the Ball."], ["a dog runs"]]
    assert cider(["a man throwing the ball", "a dog runs!"], told) == pytest.approx(
        cider(["A MAN throwing the ball", "a dog runs"], [["a man throwing the ball"], ["a dog runs"]])
    )


def test_a_sample_without_references_is_refused():
    with pytest.raises(InputError, match="each needs a reference"):
        cider(["a man", "a dog"], [["a man"], []])
