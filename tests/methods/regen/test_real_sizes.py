"""Captioners of GIT-base's and BLIP-base's sizes, with random weights: steps in bfloat16, stopped, resumed, shared.

CLIP and the language model are tiny, for the suite's sake; `benchmarks/regen.py` takes all at their real sizes.
"""

import hashlib
import math
import multiprocessing
import os

import pyarrow as pa
import pytest
import torch
from made_regen import clips, encoded

from benchmarks.random_models import save_random_model
from methods.regen import method
from platform.datasets.encoded_frames import EncodedFrames
from platform.method import Member
from platform.training.checkpoints import read_checkpoint, write_checkpoint
from platform.workers import Workers
from platform.zeroshot.task import Task

# parameters, pixels, and what stays as it is: a vision tower of 384 pixels takes its time and memory
SIZES = {"git-base": (177e6, 224, "none"), "blip-base": (224e6, 384, "vision")}
ALONE = Workers(torch.device("cpu"))
pytestmark = pytest.mark.slow


def the_task(folder):
    """Two clips of noise; a process of its own makes the same."""
    path = folder / f"clips-{os.getpid()}.arrow"
    encoded(path, clips(2, 1, 64))
    frames = EncodedFrames.of_buffer(pa.memory_map(str(path)).read_buffer())  # decoded in the process itself
    return Task(("man kicks ball", "woman throws"), ("man in snow",), frames, torch.tensor([0, 1]), torch.eye(3))


def learner(task, config, state=None, workers=ALONE):
    return method.learner(Member(task, config, 0, state), workers)


def worker(rank, folder, values):
    """One of two, in a process of its own: a step on its clip."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    own = learner(the_task(folder), method.configure(values), workers=Workers(torch.device("cpu"), rank, 2))
    own.train_epoch()
    moments = {name: own.optimiser.state[p]["exp_avg"] for name, p in own.trained.items() if "temporal" in name}
    told = {f"sum.{n}": t.double().sum() for n, t in own.captioner.state_dict().items()} | moments
    write_checkpoint(folder / f"{rank}.safetensors", told, {})
    torch.distributed.destroy_process_group()


def told_apart(captioner):
    """A digest of each tensor, for which no second copy need be kept."""
    state = captioner.state_dict().items()
    return {name: hashlib.blake2b(tensor.contiguous().view(torch.uint8).numpy()).digest() for name, tensor in state}


@pytest.mark.parametrize("size", SIZES)
def test_steps_that_go_on_exactly_and_are_shared_by_workers(models, tmp_path, size):
    count, side, frozen = SIZES[size]
    values = {"captioner": save_random_model(size, tmp_path / size), "clip": models("clip"), "frozen": frozen}
    values |= {"language_model": models("bert"), "precision": "bfloat16", "checkpointing": True, "epochs": 3}
    values |= {"batch_size": 2, "beams": 2, "max_tokens": 5, "learning_rate": 1e-4, "tau": 0.1}
    task, config = the_task(tmp_path), method.configure(values)
    whole = learner(task, config)
    assert sum(p.numel() for p in whole.captioner.parameters()) == pytest.approx(count, rel=0.02)
    assert whole.captioner.network.side == side
    start = told_apart(whole.captioner)
    whole.train_epoch()
    state = whole.state()
    told, expected = whole.train_epoch(), told_apart(whole.captioner)
    del whole
    resumed = learner(task, config, state)
    assert resumed.train_epoch() == told
    assert all(math.isfinite(value) for value in told.values())
    assert told_apart(resumed.captioner) == expected
    still = {name for name, digest in start.items() if digest == expected[name]}
    assert any("vision_model" in name for name in still) == (frozen == "vision")
    del resumed, state
    context = multiprocessing.get_context("spawn")
    given = (tmp_path, values | {"frozen": "vision"})
    processes = [context.Process(target=worker, args=(rank, *given), daemon=True) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    ends = [read_checkpoint(tmp_path / f"{rank}.safetensors")[0] for rank in (0, 1)]
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name
    assert ends[0]["temporal"].abs().sum() > 0
