import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
import torch
from made_frames import SIDE, first_pixels, greys, jpeg, write_frames
from verbs import ROOT, descendants, still_running

from platform.datasets import encoded_frames
from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.frames_file import writing_frames
from platform.errors import InputError, Unavailable


@pytest.fixture
def frames(tmp_path):
    return write_frames(tmp_path / "f.arrow", greys(12))


def shown(frames):
    return first_pixels(frames.decoded()).tolist()


def test_it_looks_like_a_tensor_of_pictures(frames):
    assert frames.shape == (12, 2, 3, SIDE, SIDE)
    assert (len(frames), frames.dtype, frames.device) == (12, torch.uint8, torch.device("cpu"))
    found = frames.decoded()
    assert (found.shape, found.dtype) == (frames.shape, frames.dtype)
    assert first_pixels(found).tolist() == greys(12).tolist()


@pytest.mark.parametrize(
    "index",
    [
        torch.tensor([3, 11, 3]),
        torch.arange(12) % 5 == 0,
        np.array([True, False] * 6),
        np.array([7, -1]),
        [2, 1],
        slice(2, 9, 3),
        slice(None, 3),
        torch.tensor([], dtype=torch.long),
        [],
        torch.zeros(12, dtype=torch.bool),
    ],
)
def test_an_index_makes_a_view_without_decoding(frames, index):
    view = frames[index]
    expected = greys(12)[np.empty(0, int) if isinstance(index, list) and not index else index]
    assert view.shape == (len(expected), 2, 3, SIDE, SIDE)
    assert shown(view) == expected.tolist()
    assert first_pixels(frames.decoded(index)).tolist() == expected.tolist()
    assert [view.key(i) for i in range(len(view))] == [
        frames.key(greys(12).tolist().index(sample)) for sample in expected.tolist()
    ]


def test_a_view_of_a_view_goes_by_the_view(frames):
    view = frames[torch.arange(12) % 2 == 1][1:][torch.tensor([2, 0])]
    assert shown(view) == greys(12)[[7, 3]].tolist()
    assert [len(part) for part in frames.split(5)] == [5, 5, 2]
    assert shown(frames.split(5)[2]) == greys(12)[10:].tolist()


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (3, TypeError),
        (torch.tensor(3), TypeError),
        ([[1]], TypeError),
        ([1.0], TypeError),
        ([12], IndexError),
        (torch.ones(11, dtype=torch.bool), IndexError),
    ],
)
def test_another_index_is_refused(frames, index, error):
    with pytest.raises(error):
        frames[index]


def test_a_copy_in_another_process_has_the_same_rows_and_device(frames):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(len, (frames[4:7],)) == 3
    again = pickle.loads(pickle.dumps(frames[4:7].to("meta")))
    assert again.device == torch.device("meta")
    assert shown(again.to("cpu")) == greys(12)[4:7].tolist()


def test_a_copy_notices_that_its_file_was_replaced(frames, tmp_path):
    content = pickle.dumps(frames)
    (tmp_path / "f.arrow").unlink()
    with pytest.raises(InputError, match=r"f\.arrow: missing or truncated"):
        pickle.loads(content)
    write_frames(tmp_path / "f.arrow", greys(3))
    with pytest.raises(InputError, match="has 3 samples, had 12: it was replaced"):
        pickle.loads(content)


def test_a_device_is_remembered(frames):
    assert frames.to("meta")[2:].device == torch.device("meta")
    assert frames.to(torch.device("meta")).decoded([0]).device == torch.device("meta")
    assert frames.device == torch.device("cpu")


def test_a_key_is_of_the_bytes_alone(frames, tmp_path):
    other = write_frames(tmp_path / "other.arrow", greys(12)[[5, 5, 0]])
    assert [other.key(i) for i in range(3)] == [frames.key(5), frames.key(5), frames.key(0)]
    assert len({frames.key(i) for i in range(12)}) == 12
    with writing_frames(tmp_path / "a.arrow", 2, 1) as writer:  # the same bytes, cut elsewhere
        writer.add([b"ab", b"c"])
        writer.add([b"a", b"bc"])
    assert len({EncodedFrames(tmp_path / "a.arrow").key(i) for i in range(2)}) == 2


def test_rows_are_written_to_another_file(frames, tmp_path):
    frames[[5, 1]].write(tmp_path / "two.arrow")
    assert shown(EncodedFrames(tmp_path / "two.arrow")) == greys(12)[[5, 1]].tolist()


def test_a_buffer_is_read_but_stays_in_its_process(frames, tmp_path):
    found = EncodedFrames.of_buffer(pa.py_buffer((tmp_path / "f.arrow").read_bytes()))
    assert shown(found[2:4]) == greys(12)[2:4].tolist()
    with pytest.raises(TypeError, match="cannot go to another process"):
        pickle.dumps(found)


BATCHES = (torch.tensor([3, 1, 4]), torch.tensor([1, 5]), torch.tensor([9]))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_their_order_and_draw_nothing(frames, workers):
    state = torch.get_rng_state()
    found = list(frames[2:].batches(BATCHES, workers))
    assert [first_pixels(batch).tolist() for batch in found] == [greys(12)[2:][b.numpy()].tolist() for b in BATCHES]
    assert {batch.dtype for batch in found} == {torch.uint8}
    assert torch.equal(torch.get_rng_state(), state)
    assert multiprocessing.active_children() == []


def test_no_batches_need_no_workers(frames):
    assert list(frames.batches([])) == []


def test_workers_end_with_the_iterator(frames):
    batches = frames.batches([torch.tensor([0])] * 50, workers=1)
    next(batches)
    assert len(multiprocessing.active_children()) == 1
    batches.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_frame_is_told_by_its_place(tmp_path, workers):
    with writing_frames(tmp_path / "f.arrow", 2, SIDE) as writer:
        writer.add([jpeg(1), jpeg(2)])
        writer.add([jpeg(1), b"no picture"])
        writer.add([jpeg(1), jpeg(1, side=8)])
    frames = EncodedFrames(tmp_path / "f.arrow")
    for row in (1, 2):
        message = rf"f\.arrow: row {row}, frame 1 is no JPEG or PNG of 16 x 16 .*; import the data again"
        with pytest.raises(InputError, match=message) as raised:
            list(frames[1:].batches([torch.tensor([row - 1])], workers))
        assert "\n" not in str(raised.value)
    assert multiprocessing.active_children() == []


def test_a_worker_that_was_killed_is_told(frames):
    batches = frames.batches([torch.tensor([0])] * 50, workers=1)
    next(batches)
    for process in multiprocessing.active_children():
        os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(
        Unavailable, match=r"one of 1 processes that decode frames was killed, .*; give it fewer workers"
    ):
        list(batches)


_KILLED = """
import time
from pathlib import Path

if __name__ == "__main__":
    import torch

    from platform.datasets.encoded_frames import EncodedFrames

    batches = EncodedFrames(Path({path!r})).batches([torch.tensor([0])] * 50, 2)
    next(batches)
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_workers_end_with_a_process_that_was_killed(frames, tmp_path):
    (tmp_path / "reading.py").write_text(_KILLED.format(path=str(tmp_path / "f.arrow")))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "reading.py")]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    workers = descendants(process.pid)
    assert len(workers) >= 3  # the one that forks, and two
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while still_running(workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not still_running(workers)


@pytest.mark.slow
def test_a_wait_has_an_end(frames, tmp_path, monkeypatch):
    monkeypatch.setattr(encoded_frames, "_LONGEST_WAIT", 2)
    monkeypatch.setattr(encoded_frames, "_LOOK_AFTER", 1)
    (tmp_path / "f.arrow").unlink()
    os.mkfifo(tmp_path / "f.arrow")  # which a worker waits to open for ever
    with pytest.raises(Unavailable, match=r"gave none for 2 s \(DataLoader timed out"):
        list(frames.batches(BATCHES, workers=1))
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_go_to_the_gpu(frames, workers):
    found = list(frames.to("cuda").batches(BATCHES, workers))
    assert {batch.device.type for batch in found} == {"cuda"}
    assert [first_pixels(batch).tolist() for batch in found] == [greys(12)[b.numpy()].tolist() for b in BATCHES]
