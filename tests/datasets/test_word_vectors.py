import numpy as np
import pytest

from platform.datasets import encoders
from platform.datasets.text import ClassText, encode_names
from platform.datasets.word_vectors import encode_words
from platform.errors import InputError

VECTORS = {"the": [9, 9], "pull": [1, 2], "up": [3, 6], "Tai": [0, 1], "ice cream": [7, 7], "Chi": [4, 5]}


def write_binary(path, break_lines=False):
    parts = [f"{len(VECTORS)} 2\n".encode()]
    for word, vector in VECTORS.items():
        parts += [word.replace(" ", "_").encode(), b" ", np.array(vector, "<f4").tobytes(), b"\n" * break_lines]
    path.write_bytes(b"".join(parts))
    return path


def write_text(path, header=True, end=""):
    lines = [f"{len(VECTORS)} 2"] * header
    lines += [" ".join([word, *map(str, vector)]) + end for word, vector in VECTORS.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "write", "options"),
    [
        ("v.bin", write_binary, {}),
        ("v.bin", write_binary, {"break_lines": True}),
        ("v.txt", write_text, {}),
        ("v.vec", write_text, {"end": " "}),
        ("glove.txt", write_text, {"header": False}),
    ],
    ids=["GoogleNews", "word2vec.c", "text", "fastText", "GloVe"],
)
def test_a_phrase_is_the_mean_of_its_words(tmp_path, name, write, options):
    vectors = encode_words(write(tmp_path / name, **options), ["pull up", "Up", "tai chi", "pull-unknown"])
    assert vectors.tolist() == [[2, 4], [3, 6], [2, 3], [1, 2]]
    assert vectors.dtype == np.float32


def test_floats_that_hold_a_space_or_a_line_break_do_not_end_a_vector(tmp_path):
    odd = np.frombuffer(b" \n \n\n  \n", "<f4")
    (tmp_path / "v.bin").write_bytes(b"2 2\na " + odd.tobytes() + b"b " + odd[::-1].tobytes())
    np.testing.assert_array_equal(encode_words(tmp_path / "v.bin", ["a", "b"]), [odd, odd[::-1]])


def test_a_text_without_a_known_word_is_refused(tmp_path):
    path = write_binary(tmp_path / "v.bin")
    with pytest.raises(InputError, match=r"v\.bin: knows no word of `yo yo` \(yo, yo\)"):
        encode_words(path, ["pull up", "yo yo"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.bin", b"\x80\x04\x95abc", "gensim's own format.*save_word2vec_format"),
        ("v.kv", b"abc", "gensim's own format"),
        ("v.bin.gz", b"\x1f\x8b\x08\x00", "compressed; unpack it first"),
        ("v.txt", b"", "empty"),
        ("v.bin", b"the \x00\x00", "no header `WORDS DIMENSION`"),
        ("v.bin", b"2 2\na \x00\x00\x00\x00\x00\x00\x00\x00b \x00", "truncated; 2 words of 2 numbers are announced"),
        ("v.bin", b"1 1\nup \x00\x00\xc0\x7f", "the vector of `up` holds NaN"),
        ("v.txt", b"pull 1 2\nup 1\n", "line 2: expected a word and 2 numbers"),
        ("v.txt", b"pull 1 2\nup 1 x\n", "line 2: expected a word and 2 numbers"),
        ("v.txt", b"3 2\n", r"v\.txt: knows no word of `up`"),
        ("v.txt", b"up\n", "no words and numbers, one word a line"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        encode_words(tmp_path / name, ["up"])


def test_a_file_is_an_encoder_of_its_size_and_date(tmp_path):
    spelling = f"word2vec:{write_binary(tmp_path / 'v.bin')}"
    assert encoders.is_encoder(spelling)
    assert not encoders.is_encoder("word2vec:")
    before = encoders.encoder_id(spelling)
    with (tmp_path / "v.bin").open("ab") as file:
        file.write(b"\n")
    assert encoders.encoder_id(spelling) != before
    np.testing.assert_allclose(
        encode_names(spelling, ["pull_up"], ClassText(encoder=spelling)), [[5**-0.5, 2 * 5**-0.5]]
    )
    with pytest.raises(InputError, match=r"w\.bin: no such file"):
        encoders.encode(f"word2vec:{tmp_path / 'w.bin'}", ["up"])
