import re
from dataclasses import asdict

import numpy as np
import pytest

from platform.datasets.contents import FeatureArray
from platform.datasets.folder import write_dataset
from platform.datasets.simulator.actions import ACTIONS, PARTS, VERBS
from platform.datasets.simulator.captioned_clips import captioned_clips
from platform.datasets.simulator.captioned_folder import contents_of
from platform.datasets.simulator.captions import (
    BACKGROUNDS,
    COLOURS,
    STILL_TEMPLATES,
    TEMPI,
    TEMPLATES,
    VIEWS,
    Factors,
    captions,
    corpus,
    is_grammatical,
    named,
    sentence,
    still_caption,
)
from platform.datasets.trained_on import NOT_TRAINED
from platform.errors import InputError

FACTORS = Factors("circle", "left leg", "purple", "brick wall", "slow", "right")
SLOTS = {"tempo": "tempo", "view": "view", "where": "background", "figure": "colour"}


@pytest.fixture(scope="module")
def clips():
    return captioned_clips(subjects=4, side=32)


def test_the_same_seed_gives_the_same_clips_and_another_seed_others(clips):
    again, other = (captioned_clips(seed=seed, subjects=4, side=32) for seed in (0, 1))
    np.testing.assert_array_equal(clips.frames, again.frames)
    assert clips.captions == again.captions
    assert clips.factors == again.factors
    assert not np.array_equal(clips.frames, other.frames)


def test_more_subjects_leave_the_first_ones_alone(clips):
    few = captioned_clips(subjects=1, side=32)
    np.testing.assert_array_equal(few.frames, clips.frames[: len(few.labels)])
    assert list(few.captions) == list(clips.captions[: len(few.labels)])


def test_shapes_partition_and_what_it_says_of_itself(clips):
    count = 4 * len(ACTIONS)
    assert clips.frames.shape == (count, 4, 3, 32, 32)
    assert clips.frames.dtype == np.uint8
    assert clips.joints.shape == (count, 4, 25, 2)
    assert all(len(one) == count for one in (clips.labels, clips.factors, clips.captions, clips.train, clips.groups))
    assert set(clips.groups[clips.train]).isdisjoint(clips.groups[~clips.train])
    assert clips.simulated
    assert "simulated" in clips.source


def test_a_clip_moves_and_classes_look_different(clips):
    moving = clips.frames[:, 0].astype(int) - clips.frames[:, 2]
    assert (np.abs(moving).max(axis=(1, 2, 3)) > 30).mean() > 0.95
    one = clips.joints[: len(ACTIONS)].reshape(len(ACTIONS), -1)
    apart = np.linalg.norm(one[:, None] - one[None], axis=-1) + np.eye(len(ACTIONS))
    assert apart.min() > 0.05  # picture widths, over all joints and pictures


def test_joints_are_where_the_figure_is(clips):
    assert ((clips.joints[:, :, 0] > 0.2) & (clips.joints[:, :, 0] < 0.8)).all()  # the base of the spine
    places = (clips.joints[:, 0, 20] * 32).astype(int)  # the shoulders' middle; figures are brighter than all grounds
    light = clips.frames[:, 0].astype(int).sum(axis=1)
    figure = light[np.arange(len(places)), places[:, 1], places[:, 0]]
    assert (figure > np.median(light, axis=(1, 2))).mean() > 0.95


def test_labels_are_the_factors_classes(clips):
    for label, factors in zip(clips.labels, clips.factors, strict=True):
        action = ACTIONS[label]
        assert (action.verb.name, action.part) == (factors.verb, factors.part)
        assert clips.class_names[label] == action.name
    for factor, values in (("colour", COLOURS), ("background", BACKGROUNDS), ("tempo", TEMPI), ("view", VIEWS)):
        assert {getattr(f, factor) for f in clips.factors} == set(values)


def test_captions_are_grammatical_and_name_the_clips_own_factors_alone(clips):
    for factors, written in zip(clips.factors, clips.captions, strict=True):
        assert len(set(written)) == 5
        for text in written:
            assert is_grammatical(text)
            assert named(text).items() <= asdict(factors).items()


@pytest.mark.parametrize("template", [*TEMPLATES, *STILL_TEMPLATES])
def test_a_template_names_what_its_slots_say(template):
    slots = set(re.findall(r"{(\w+)}", template))
    expected = {factor: getattr(FACTORS, factor) for slot, factor in SLOTS.items() if slot in slots}
    if slots & {"do", "does", "doing"}:
        expected["verb"] = FACTORS.verb
    if slots & {"do", "does", "doing", "part"}:
        expected["part"] = FACTORS.part
    for seed in range(5):
        text = sentence(FACTORS, template, np.random.default_rng(seed))
        assert named(text) == expected
        assert is_grammatical(text)


@pytest.mark.parametrize(
    "text", ["", "a red figure", "a red figure raises raises its left arm", "figure red a raises its left arm", "raise"]
)
def test_other_texts_are_not_grammatical(text):
    assert not is_grammatical(text)


def test_blanks_and_case_do_not_matter():
    assert is_grammatical("In front of a grey wall , a red figure raises its left arm")


def test_a_factor_named_in_two_ways_is_named_not_at_all():
    assert named("a red figure raises its left arm and bends its head") == {"colour": "red"}


def test_as_many_captions_as_asked():
    many = captions(FACTORS, 2 * len(TEMPLATES), np.random.default_rng(0))
    assert len(many) == 2 * len(TEMPLATES)


def test_a_still_pictures_captions_mostly_tell_an_action_and_often_a_wrong_one():
    rng = np.random.default_rng(0)
    told = [named(still_caption(FACTORS, rng)).get("verb") for _ in range(1000)]
    assert 0.9 < np.mean([verb is not None for verb in told]) < 1.0
    assert 0.4 < np.mean([verb == FACTORS.verb for verb in told if verb]) < 0.6


def test_the_corpus_names_every_value_and_combinations_that_no_class_has():
    sentences = corpus(3000, np.random.default_rng(0))
    assert all(map(is_grammatical, sentences))
    said = [named(text) for text in sentences]
    values = {"verb": [v.name for v in VERBS], "part": PARTS, "colour": COLOURS, "background": BACKGROUNDS}
    for factor, every in (values | {"tempo": TEMPI, "view": VIEWS}).items():
        assert {s[factor] for s in said if factor in s} == set(every)
    pairs = {(s["verb"], s["part"]) for s in said if {"verb", "part"} <= set(s)}
    assert pairs - {(a.verb.name, a.part) for a in ACTIONS}


def test_unseen_classes_are_new_combinations_of_seen_verbs_and_parts(clips):
    for split in clips.splits.values():
        unseen = clips.of_classes(split.unseen)
        pairs = [{(f.verb, f.part) for f, new in zip(clips.factors, unseen, strict=True) if new == kind}
                 for kind in (True, False)]  # fmt: skip
        new, seen = pairs
        assert len(new) == len(split.unseen)
        assert not new & seen
        for position in (0, 1):
            assert {pair[position] for pair in new} <= {pair[position] for pair in seen}


def test_some_clips_are_chosen_in_every_field(clips):
    few = clips.chosen(clips.labels == 3)
    assert len(few.frames) == len(few.captions) == len(few.joints) == 4
    assert {f.verb for f in few.factors} == {ACTIONS[3].verb.name}


@pytest.mark.parametrize("counts", [{"subjects": 0}, {"frames": 0}, {"side": 8}, {"captions_each": 0}])
def test_a_count_out_of_range_is_refused(counts):
    with pytest.raises(InputError, match=next(iter(counts))):
        captioned_clips(**counts)


def test_pictures_are_written_into_a_folder_whose_card_says_simulated(clips, tmp_path):
    middle = clips.frames[:, 2].reshape(len(clips.labels), -1)
    pixels = FeatureArray(middle, "the third picture", kind="pixels", trained_on=NOT_TRAINED)
    dataset = write_dataset(contents_of(clips, {"pixels": pixels}), tmp_path / "clips")
    assert dataset.card.simulated
    np.testing.assert_array_equal(dataset.features("pixels"), middle)
    assert dataset.split("12-unseen") == clips.splits["12-unseen"]
