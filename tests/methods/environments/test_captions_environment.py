from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import methods.environments  # noqa: F401 (registers the environment)
from methods.environments.captions import Captioning, CaptionsEnv, CaptionsVectorEnv

ID = "unseen/Captions-v0"
PADDING, BEGIN, END = 0, 1, 2


def said(rows, tokens):
    """A caption is paid for each token that is its clip's number and 3."""
    return (tokens == 3 + rows[:, None]).sum(dim=1).float()


@pytest.fixture(scope="module")
def captioning():
    clips = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    return Captioning(clips, vocabulary=8, begin=BEGIN, end=END, padding=PADDING, longest=6, reward=said)


@pytest.mark.filterwarnings("ignore:.*Box observation space m.*infinity")
def test_it_passes_gymnasiums_checker(captioning):
    check_env(gymnasium.make(ID, captioning=captioning).unwrapped)


def test_an_observation_is_the_clip_and_the_tokens_so_far(captioning):
    env = CaptionsEnv(captioning)
    observation, _ = env.reset(seed=1)
    row = int(env.episodes.rows[0])
    np.testing.assert_allclose(observation, [*captioning.clips[row].tolist(), BEGIN, 0, 0, 0, 0, 0], rtol=1e-6)
    observation, reward, terminated, truncated, _ = env.step(5)
    assert observation[5:].tolist() == [BEGIN, 5, 0, 0, 0, 0]
    assert (reward, terminated, truncated) == (0.0, False, False)


def test_a_caption_is_paid_when_its_end_is_said(captioning):
    env = CaptionsEnv(captioning)
    env.reset(seed=1)
    right = 3 + int(env.episodes.rows[0])
    assert [env.step(right)[1] for _ in range(2)] == [0.0, 0.0]
    _, reward, terminated, truncated, _ = env.step(END)
    assert (reward, terminated, truncated) == (2.0, True, False)


@pytest.mark.parametrize("token", [BEGIN, PADDING])
def test_who_says_no_word_says_the_end(captioning, token):
    env = CaptionsEnv(captioning)
    env.reset(seed=1)
    observation, _, terminated, *_ = env.step(token)
    assert terminated
    assert observation[6] == END


def test_the_longest_caption_ends(captioning):
    env = CaptionsEnv(captioning)
    env.reset(seed=1)
    right = 3 + int(env.episodes.rows[0])
    steps = [env.step(right) for _ in range(5)]
    assert [step[2] for step in steps] == [False] * 4 + [True]
    assert steps[-1][1] == 5.0


def test_several_captions_are_said_side_by_side_and_begin_anew(captioning):
    env = CaptionsVectorEnv(captioning, num_envs=3)
    first, _ = env.reset(seed=2)
    _, rewards, terminated, _, _ = env.step(np.array([END, 4, 4]))
    assert terminated.tolist() == [True, False, False]
    assert rewards.tolist() == [0.0, 0.0, 0.0]
    observation, rewards, terminated, _, _ = env.step(np.array([4, 4, END]))
    assert terminated.tolist() == [False, False, True]
    assert observation[0, 5:].tolist() == [BEGIN, 0, 0, 0, 0, 0]  # the step after an end only begins anew
    again, _ = env.reset(seed=2)
    np.testing.assert_array_equal(first, again)


def test_a_caption_without_room_is_refused(captioning):
    with pytest.raises(ValueError, match="no room"):
        CaptionsEnv(replace(captioning, longest=1))
