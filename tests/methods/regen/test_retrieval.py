from importlib.util import find_spec

import pytest
import torch
from torch.nn.functional import normalize

from methods.regen import retrieval
from methods.regen.retrieval import read_captions, retrieved
from platform.errors import InputError
from platform.population.draws import generator


def _embeddings(count, name):
    return normalize(torch.randn(count, 6, generator=generator(name)), dim=1)


@pytest.mark.parametrize("count", [1, 4, 23])
def test_blocks_find_what_one_product_finds(count, monkeypatch):
    monkeypatch.setattr(retrieval, "_CLIPS", 3)
    monkeypatch.setattr(retrieval, "_CAPTIONS", 5)
    monkeypatch.setattr(retrieval, "find_spec", lambda _: None)
    clips, captions = _embeddings(7, "clips"), _embeddings(23, "captions")
    values, indices = retrieved(clips, captions, count)
    expected, places = (clips @ captions.T).topk(count)
    torch.testing.assert_close(values, expected)
    assert torch.equal(indices, places)


def test_no_block_is_larger_than_said(monkeypatch):
    monkeypatch.setattr(retrieval, "find_spec", lambda _: None)
    shapes = []
    own = torch.Tensor.topk

    def watched(values, count):
        shapes.append(tuple(values.shape))
        return own(values, count)

    monkeypatch.setattr(retrieval, "_CLIPS", 4)
    monkeypatch.setattr(retrieval, "_CAPTIONS", 10)
    monkeypatch.setattr(torch.Tensor, "topk", watched)
    retrieved(_embeddings(9, "clips"), _embeddings(25, "captions"), 2)
    assert all(rows <= 4 and columns <= 10 for rows, columns in shapes)


@pytest.mark.skipif(not find_spec("faiss"), reason="faiss is not installed")
def test_faiss_finds_the_same(monkeypatch):
    clips, captions = _embeddings(7, "clips"), _embeddings(23, "captions")
    values, indices = retrieved(clips, captions, 4)
    monkeypatch.setattr(retrieval, "find_spec", lambda _: None)
    own_values, own_indices = retrieved(clips, captions, 4)
    torch.testing.assert_close(values, own_values)
    assert torch.equal(indices, own_indices)


@pytest.mark.parametrize("count", [0, 24])
def test_a_count_out_of_range_is_one_line(count):
    with pytest.raises(InputError, match=f"count={count}: there are 23 captions; give 1 to 23"):
        retrieved(_embeddings(7, "clips"), _embeddings(23, "captions"), count)


def test_captions_are_read_a_line_each(tmp_path):
    file = tmp_path / "captions.txt"
    file.write_bytes("\ufeffa man\r\n\n  zwei Bälle \na\u2028b\n".encode())
    assert read_captions(file) == ["a man", "zwei Bälle", "a\u2028b"]


def test_a_file_without_captions_is_one_line(tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text(" \n\n")
    latin = tmp_path / "latin.txt"
    latin.write_bytes("Bälle".encode("latin-1"))
    for path, match in [
        (file, "has no caption; write captions as UTF-8, one a line"),
        (latin, "not UTF-8 .byte 1."),
        (tmp_path / "none.txt", "cannot be read .No such file or directory."),
        (tmp_path, "cannot be read"),
    ]:
        with pytest.raises(InputError, match=match) as caught:
            read_captions(path)
        assert str(caught.value).startswith(str(path))
