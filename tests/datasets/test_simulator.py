import numpy as np
import pytest

from platform.datasets.folder import write_dataset
from platform.datasets.simulator import simulate
from platform.datasets.simulator.actions import ACTIONS
from platform.datasets.simulator.body import AXES, CHAINS, PARENTS, bone_offsets, joint_positions
from platform.errors import InputError


@pytest.fixture(scope="module")
def contents():
    return simulate(subjects=2, repetitions=1)


def test_the_same_seed_gives_the_same_clips_and_another_seed_others(contents):
    again, other = simulate(subjects=2, repetitions=1), simulate(seed=1, subjects=2, repetitions=1)
    values = contents.features["pose"].values
    np.testing.assert_array_equal(values, again.features["pose"].values)
    assert not np.array_equal(values, other.features["pose"].values)


def test_more_subjects_cameras_or_repetitions_leave_the_first_ones_alone():
    few = simulate(subjects=2, cameras=1, repetitions=1)
    many = simulate(subjects=3, cameras=2, repetitions=2)
    where = {sample: i for i, sample in enumerate(many.ids)}
    for sample, clip in zip(few.ids, few.skeletons.clips, strict=True):
        np.testing.assert_array_equal(clip, many.skeletons.clips[where[sample]])


def test_says_that_it_is_simulated_and_covers_every_class_in_both_partitions(contents):
    assert contents.simulated
    assert "simulated" in contents.source
    assert len(contents.classes) == len(ACTIONS) == 48
    assert len(contents.labels) == 48 * 2 * 3
    for partition in (contents.train, ~contents.train):
        assert set(contents.labels[partition]) == set(range(48))
    np.testing.assert_array_equal(contents.train, contents.groups % 2 == 1)


def test_unseen_and_pseudo_unseen_classes_are_new_combinations_of_what_is_seen(contents):
    classes = {c.name: c for c in contents.classes}
    assert set(contents.splits) == {"new_combinations", "12-unseen"}
    for split in contents.splits.values():
        seen = set(classes) - set(split.unseen)
        assert len(set().union(*split.pseudo_unseen)) == sum(map(len, split.pseudo_unseen))  # disjoint folds
        for held_out, rest in [(split.unseen, seen)] + [(fold, seen - set(fold)) for fold in split.pseudo_unseen]:
            assert len(held_out) == len(split.unseen)
            assert {classes[n].verb for n in held_out} <= {classes[n].verb for n in rest}
            assert {classes[n].noun for n in held_out} <= {classes[n].noun for n in rest}


def test_names_and_sentences_are_those_of_the_verb_and_the_part(contents):
    for info in contents.classes:
        assert info.verb in info.name
        assert info.noun in info.name
        sentences = info.descriptions["sentence"]
        assert len(sentences) == 3
        assert all(info.noun in sentence for sentence in sentences)


def test_bones_keep_their_length_however_the_body_moves():
    angles = np.random.default_rng(0).uniform(-1.5, 1.5, (40, len(CHAINS), len(AXES)))
    offsets = bone_offsets(1.8, arm=1.1)
    positions = joint_positions(angles, offsets)
    for joint, parent in PARENTS.items():
        lengths = np.linalg.norm(positions[:, joint] - positions[:, parent], axis=-1)
        np.testing.assert_allclose(lengths, np.linalg.norm(offsets[joint]))


def test_a_standing_body_has_its_head_up_and_its_left_hand_on_its_left():
    body = joint_positions(np.zeros((len(CHAINS), len(AXES))), bone_offsets(1.7))
    height = body[:, 1]
    assert height[3] > height[20] > height[0] > height[13] > height[14] > height[15]
    assert body[7, 0] > 0 > body[11, 0]
    assert height[7] < height[5] < height[4]


def test_clips_look_like_a_sensors(contents):
    for clip in contents.skeletons.clips[::17]:
        assert clip.dtype == np.float32
        assert 30 <= len(clip) <= 100
        assert clip.shape[1:] == (1, 25, 3)
        assert 2 < clip[..., 2].min() < clip[..., 2].max() < 6  # metres from the sensor
        assert np.median(clip[:, 0, 3, 1]) > np.median(clip[:, 0, 15, 1])  # y is up


def test_writes_and_reads_back(contents, tmp_path):
    dataset = write_dataset(contents, tmp_path / "simulated")
    assert dataset.card.simulated
    assert dataset.card.features["pose"].normalise == "standard"
    np.testing.assert_array_equal(dataset.features("pose"), contents.features["pose"].values)
    np.testing.assert_array_equal(dataset.skeleton(5), contents.skeletons.clips[5])
    assert dataset.split("new_combinations") == contents.splits["new_combinations"]


@pytest.mark.parametrize("counts", [{"subjects": 1}, {"cameras": 4}, {"repetitions": 0}, {"seed": -1}])
def test_a_count_out_of_range_is_refused(counts):
    with pytest.raises(InputError, match=next(iter(counts))):
        simulate(**counts)
