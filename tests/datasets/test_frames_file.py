import numpy as np
import pyarrow as pa
import pytest
from made_frames import greys, jpeg, write_frames

from platform.datasets import frames_file
from platform.datasets.frames_file import FramesFile, writing_frames
from platform.errors import InputError


def test_samples_are_found_in_whichever_batch_they_stand(tmp_path, monkeypatch):
    monkeypatch.setattr(frames_file, "_BATCH_BYTES", 3000)  # some samples a batch
    write_frames(tmp_path / "f.arrow", greys(11))
    file = FramesFile.open(tmp_path / "f.arrow")
    assert 2 < len(file.columns) < 11
    assert (len(file), file.frames, file.side) == (11, 2, 16)
    for row, sample in enumerate(greys(11)):
        assert [frame.to_pybytes() for frame in file.sample(row)] == [jpeg(grey) for grey in sample]
    assert file.columns[0].type == pa.list_(pa.binary())


def test_what_is_read_is_a_view_of_the_file(tmp_path):
    frames = write_frames(tmp_path / "f.arrow", greys(64))
    before = pa.total_allocated_bytes()
    file = FramesFile.open(tmp_path / "f.arrow")
    held = [file.sample(row) for row in range(64)]
    assert pa.total_allocated_bytes() == before
    assert len(held) == len(frames)


def test_a_sample_with_another_count_of_frames_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="a sample of 1 frames among samples of 2"),
        writing_frames(tmp_path / "f.arrow", 2, 16) as writer,
    ):
        writer.add([b"one"])


def _plain(path):
    batch = pa.record_batch({"values": np.arange(3)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, r"f\.arrow: missing or truncated .*; import the data again"),
        (lambda path: path.write_bytes(b"ARROW1 and so on"), r"f\.arrow: missing or truncated"),
        (_plain, r"f\.arrow: holds no encoded frames"),
    ],
)
def test_another_file_is_refused(tmp_path, make, message):
    make(tmp_path / "f.arrow")
    with pytest.raises(InputError, match=message):
        FramesFile.open(tmp_path / "f.arrow")
