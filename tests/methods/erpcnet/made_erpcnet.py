"""A task of coloured squares, and a configuration of ERPCNet that is quick on it."""

import torch
from training_loop import OneEpoch, fitted_until

from methods import erpcnet
from methods.erpcnet import ERPCNetConfig
from methods.erpcnet.network import fresh_network
from methods.erpcnet.pictures import centred, normalised
from platform.population.draws import generator
from platform.workers import Workers
from platform.zeroshot.task import Task, pictures_of

SEEN, UNSEEN, TEXT, STORED = 4, 2, 5, 72
SMALL = {
    "backbone": "squeezenet1_1",
    "weights": "none",
    "frozen_blocks": 0,
    "side": 64,  # maps of 3 × 3, and so 2 × 2 cells
    "smallest_crop": 0.5,
    "kernel": 2,
    "stride": 1,
    "steps": 3,
    "sigma": 0.8,
    "joint_hidden": 6,
    "dropout": 0.0,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "epochs": 3,
    "policy_epochs": 1,
    "policy_iterations": 1,
}
ALONE = Workers(torch.device("cpu"))
VARIANTS = {
    "ERPCNet": {},
    "RPCNet": {"entropy": False},
    "PCNet": {"sampler": "random"},
    "GlobalNet": {"sampler": "none"},
    "HardNet": {"crops": "image"},
}


def config(**values):
    return ERPCNetConfig(**SMALL | values)


def make_task(seed=0, samples=16):
    """Squares of a class's colour somewhere on a grey picture with noise; a class's semantics tell its colour."""
    draw = generator(seed, "task")
    colours = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=torch.float32)
    semantics = torch.nn.functional.normalize(torch.cat([colours, 1 - colours[:, :2]], dim=1))
    labels = torch.arange(samples) % SEEN
    names = [f"class {i}" for i in range(SEEN + UNSEEN)]

    def pictures(classes):
        x = 100 + 20 * torch.randn(len(classes), 3, STORED, STORED, generator=draw)
        for own, label in zip(x, classes, strict=True):
            top, left = torch.randint(STORED - 30, (2,), generator=draw).tolist()
            own[:, top : top + 30, left : left + 30] = 255 * colours[label][:, None, None]
        return x.clamp(0, 255).to(torch.uint8).flatten(1)

    task = Task(tuple(names[:SEEN]), tuple(names[SEEN:]), pictures(labels), labels, semantics)
    return task, pictures(torch.arange(6) % UNSEEN + SEEN)


def fitted(members, epochs=1):
    run = OneEpoch(epochs)
    fitted_until(erpcnet.method, members, run)
    return run, run.models(range(len(members)))


def network(**values):
    return fresh_network(config(**values), TEXT, seed=0)


def some_pictures(count=3):
    task, _ = make_task()
    return (
        normalised(centred(pictures_of(task.features, slice(count)), SMALL["side"])),
        task.labels[:count],
        task.semantics[:SEEN],
    )
