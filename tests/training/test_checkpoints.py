import pytest
import torch

from platform.training import checkpoints
from platform.training.checkpoints import read_checkpoint, write_checkpoint


def test_what_is_written_is_read_back(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    tensors = {"shared": base, "again": base, "view": base.T, "row": base[1], "mask": base > 5, "empty": torch.empty(0)}
    record = {"history": [[{"loss": 0.1 + 0.2}]], "name": "é"}
    write_checkpoint(tmp_path / "a.safetensors", tensors, record)
    read, read_record = read_checkpoint(tmp_path / "a.safetensors")
    assert read_record == record
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_there_may_be_no_checkpoint(tmp_path):
    assert read_checkpoint(tmp_path / "none.safetensors") is None


def test_a_write_that_is_cut_off_leaves_the_former_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, {"x": torch.ones(1)}, {"epoch": 1})

    def cut_off(tensors, partial, metadata):
        partial.write_bytes(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_file", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(path, {"x": torch.zeros(1)}, {"epoch": 2})
    tensors, record = read_checkpoint(path)
    assert (tensors["x"].item(), record) == (1, {"epoch": 1})
