import torch
from made_erpcnet import config, fitted, make_task, network, some_pictures
from torch.nn.functional import log_softmax

from methods.erpcnet.walks import Walk, in_turn, walked
from platform.method import Member


def made_walk():
    """Two walks of three steps, with one attribute a class."""
    joint = torch.tensor([[[0.0, 1.0], [3.0, 0.0], [9.0, 0.0]], [[0.0, 0.1], [0.1, 0.0], [0.0, 0.2]]])
    return Walk(
        cells=torch.tensor([[0, 1, 2], [2, 1, 0]]),
        ratios=torch.tensor([[0.5, 1.0, 1.0], [1.0, 1.0, 0.5]]),
        whole=torch.zeros(2, 1),
        global_attributes=torch.tensor([[2.0, 0.0], [0.0, 0.0]]),
        joint_attributes=joint,
        joint_embeddings=torch.zeros(2, 0, 1),
    )


def test_a_walk_ends_where_the_reward_of_the_predicted_label_reaches_sigma():
    walk, classes = made_walk(), torch.eye(2)
    for entropy in (True, False):
        rewards = walk.rewards(classes, entropy)
        for n in range(2):
            for t in range(3):
                a_g, a_j = walk.global_attributes[n], walk.joint_attributes[n, t]
                label = (a_g + a_j).argmax()
                expected = a_j.softmax(dim=0)[label] + a_g.softmax(dim=0)[label]
                torch.testing.assert_close(rewards[n, t], expected * (walk.ratios[n, t] if entropy else 1))
    assert walk.ends(classes, 1.5, True).tolist() == [2, 3]
    assert walk.ends(classes, 0.5, False).tolist() == [1, 1]
    assert walk.ends(classes, None, True).tolist() == [3, 3]
    predictions = walk.predictions(classes)
    assert predictions.shape == (2, 4, 2)
    torch.testing.assert_close(predictions[0, 0], log_softmax(torch.tensor([2.0, 0.0]), dim=0))
    torch.testing.assert_close(predictions[0, 1], log_softmax(torch.tensor([2.0, 1.0]), dim=0))


def test_no_cell_is_visited_twice():
    net = network(steps=4).eval()
    task, _ = make_task()
    _, (model,) = fitted([Member(task, config(steps=4, epochs=2), 0)], 2)
    assert model.policy
    assert model.walk(task.features).cells.sort(dim=1).values.tolist() == [[0, 1, 2, 3]] * len(task.labels)
    seen = []

    def choose(step, embedding, visited):
        seen.append(visited.sum(dim=1).tolist())
        return torch.tensor([step, 3 - step])

    maps, whole = net.embedded(some_pictures(2)[0])
    walk = walked(net, whole, lambda cells: net.looked(maps, cells), choose)
    assert seen == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert walk.cells.tolist() == [[0, 1, 2, 3], [3, 2, 1, 0]]
    again = walked(net, whole, lambda cells: net.looked(maps, cells), in_turn(walk.cells))
    assert torch.equal(again.joint_attributes, walk.joint_attributes)
