import math

import pytest
import torch
from made_erpcnet import (
    ALONE,
    config,
    fitted,
    make_task,
)

from methods import erpcnet
from methods.environments.localities import LocalitiesVectorEnv
from methods.erpcnet.pictures import centred, normalised
from methods.erpcnet.policy import first_weights
from methods.erpcnet.policy_training import PolicyTraining
from methods.erpcnet.training import LocalityLearner
from methods.erpcnet.walks import in_turn, walked
from platform.method import Member
from platform.population.draws import generator
from platform.zeroshot.task import pictures_of


@pytest.mark.parametrize("entropy", [True, False])
def test_an_episode_pays_what_its_picture_is_worth(entropy):
    task, _ = make_task()
    own = config(entropy=entropy)
    learner = LocalityLearner(Member(task, own, 0), ALONE)
    learner.train_epoch()
    net = learner.network
    localities = PolicyTraining(net, own, task, 0, ALONE).everywhere()
    env = LocalitiesVectorEnv(localities, 8, sigma=9.0, steps=3)
    env.reset(seed=0)
    rows, cells = env.episodes.rows.clone(), torch.tensor([[0, 3, 2]]).expand(8, 3)
    paid = torch.stack([torch.from_numpy(env.step(cells[:, step].numpy())[1]) for step in range(3)], dim=1)
    maps, whole = net.embedded(normalised(centred(pictures_of(task.features, rows), net.config.side)))
    walk = walked(net, whole, lambda chosen: net.looked(maps, chosen), in_turn(cells))
    joint, alone = ((a @ learner.text.T).softmax(dim=-1) for a in (walk.joint_attributes, walk.global_attributes))
    places, labels = torch.arange(8), task.labels[rows]
    worth = joint[places, :, labels] + alone[places, labels][:, None]
    torch.testing.assert_close(paid.float(), worth * walk.ratios if entropy else worth)
    assert (walk.ratios != 1).any()


def test_the_accuracy_of_stage_two_is_that_of_the_model():
    task, _ = make_task()
    learner = erpcnet.method.learner(Member(task, config(), 0), ALONE)
    learner.train_epoch()
    net = learner.network
    second_stage = PolicyTraining(net, config(), task, 0, ALONE)
    learner.policy = first_weights(net.width, net.cells, generator(0, "policy"))
    found = learner.model().seen_scores(task.features).argmax(dim=1)
    accuracy = (found == task.labels).double().mean().item()
    assert second_stage.accuracy(learner.policy, second_stage.everywhere()) == pytest.approx(accuracy)


def test_a_member_whose_joint_layers_overflow_has_diverged():
    task, _ = make_task()
    learner = erpcnet.method.learner(Member(task, config(epochs=2), 0), ALONE)
    learner.train_epoch()
    with torch.no_grad():
        learner.network.fc_j2.weight.fill_(torch.inf)
    assert math.isnan(learner.train_epoch()["policy_return"])


@pytest.mark.slow
def test_the_policys_episodes_may_be_played_elsewhere():
    task, _ = make_task()
    run, (model,) = fitted([Member(task, config(epochs=2, policy_epochs=1, policy_episodes=8, env_runners=1), 0)], 2)
    assert model.policy
    assert run.losses[1][0]["policy_return"] > 0


@pytest.mark.slow
def test_both_stages_with_ppo_go_on_from_any_epoch():
    task, x = make_task()
    own = config(epochs=4, policy_epochs=2, policy_episodes=32)
    run, (whole,) = fitted([Member(task, own, 0)], 4)
    for losses, *_ in run.losses[2:]:
        assert 1 <= losses["policy_steps"] <= 3
        assert losses["policy_return"] > 0
        assert 0 <= losses["accuracy"] <= 1
    run, _ = fitted([Member(task, own, 0)], 3)
    _, (resumed,) = fitted([Member(task, own, 0, run.states([0])[0])], 1)
    assert all(torch.equal(resumed.policy[name], tensor) for name, tensor in whole.policy.items())
    assert torch.equal(resumed.unseen_scores(x), whole.unseen_scores(x))
    trace = whole.trace(x, "all")
    assert trace.cells.sort(dim=1).values.diff(dim=1).min() > 0


def test_a_member_that_diverged_late_does_not_stop_the_others():
    task, *_ = make_task()
    member = Member(task, config(sampler="policy", epochs=2, policy_epochs=1), 0)
    learner = erpcnet.method.learner(member, ALONE)
    learner.train_epoch()
    with torch.no_grad():
        next(learner.network.last.parameters()).fill_(torch.inf)
    losses = learner.train_epoch()
    assert math.isnan(losses["policy_return"])
