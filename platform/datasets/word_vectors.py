"""Word vectors in a local file: word2vec's binary format (GoogleNews) or its text format, and GloVe's without a header.

Files of several gigabytes are scanned once, and only the vectors of the words that are asked for are kept.
"""

import mmap
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from platform.errors import InputError

_WORD = re.compile(r"[^\W_]+")
_HEADER = re.compile(rb"(\d+) (\d+)\s*")
_LONGEST_LINE = 1 << 20


def encode_words(path: Path, texts: Sequence[str]) -> np.ndarray:
    """(N, T) float32, each row the mean of the vectors of a text's words (CLASTER, Section 4).

    A word is looked for as it is spelled, in small letters, and capitalised; unknown ones are passed over. Raises
    InputError where a text has no known word, or the file has another format.
    """
    words = [_WORD.findall(text) for text in texts]
    found = _read_vectors(path, {form for several in words for word in several for form in _forms(word)})
    rows = []
    for text, several in zip(texts, words, strict=True):
        vectors = [found[form] for word in several if (form := _known(word, found)) is not None]
        if not vectors:
            shown = ", ".join(several) or "none"
            raise InputError(f"{path}: knows no word of `{text}` ({shown}); give the class another name or text")
        rows.append(np.mean(vectors, axis=0))
    return np.stack(rows).astype(np.float32)


def _forms(word: str) -> list[str]:
    return list(dict.fromkeys([word, word.lower(), word.capitalize()]))


def _known(word: str, found: Collection[str]) -> str | None:
    return next((form for form in _forms(word) if form in found), None)


def _read_vectors(path: Path, words: Collection[str]) -> dict[str, np.ndarray]:
    """The vectors of those of `words` that the file has."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; word2vec:FILE takes a local file of word vectors")
    with path.open("rb") as file:
        start = file.read(4)
        if start[:1] == b"\x80" or path.suffix in (".kv", ".model", ".pkl"):
            raise InputError(
                f"{path}: gensim's own format, which is a pickle and not loaded; save it in gensim with "
                "save_word2vec_format(FILE, binary=True)"
            )
        if start.startswith((b"\x1f\x8b", b"PK\x03\x04")):
            raise InputError(f"{path}: compressed; unpack it first, since words are looked up in the file itself")
        if not start:
            raise InputError(f"{path}: empty")
        wanted = {word.encode(): word for word in words}
        file.seek(0)
        entries = _binary(path, file.fileno(), wanted) if path.suffix == ".bin" else _lines(path, file, wanted)
        found: dict[str, np.ndarray] = {}
        for word, vector in entries:
            found.setdefault(wanted[word], vector)
        return found


def _binary(path: Path, descriptor: int, wanted: Collection[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
    """A header `N D`, then N times a word, a space and D float32; some writers end each with a line break."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
        header = _HEADER.match(data[: data.find(b"\n", 0, 64) + 1])
        if header is None:
            raise InputError(f"{path}: no header `WORDS DIMENSION`, with which word2vec's binary format begins")
        count, dimension = (int(number) for number in header.groups())
        size, position = 4 * dimension, header.end()
        for _ in range(count):
            space = data.find(b" ", position)
            if space < 0 or space + 1 + size > len(data):
                raise InputError(f"{path}: truncated; {count} words of {dimension} numbers are announced")
            word = data[position:space].lstrip(b"\n")
            position = space + 1 + size
            if word in wanted:
                vector = np.frombuffer(data[space + 1 : position], "<f4")
                if not np.isfinite(vector).all():
                    raise InputError(f"{path}: the vector of `{word.decode()}` holds NaN or infinity")
                yield word, vector


def _lines(path: Path, file: Iterator[bytes], wanted: Collection[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
    """Perhaps a header `N D`, then a word and D numbers a line."""
    dimension = None
    for number, line in enumerate(file, start=1):
        if number == 1 and (header := _HEADER.fullmatch(line)):
            dimension = int(header[2])
            continue
        if len(line) > _LONGEST_LINE:
            raise InputError(f"{path}: line {number} is no word and its numbers; name a binary file FILE.bin")
        if dimension is None:
            dimension = len(line.split()) - 1
        if line.partition(b" ")[0] not in wanted:
            continue
        word, *numbers = line.rstrip().split(b" ")
        if len(numbers) > dimension:
            continue  # a word with a space in it, as GloVe's 840B file has some
        try:
            vector = np.array([float(n) for n in numbers], np.float32)
        except ValueError:
            vector = np.empty(0, np.float32)
        if not dimension or len(vector) != dimension or not np.isfinite(vector).all():
            raise InputError(f"{path}: line {number}: expected a word and {dimension} numbers")
        yield word, vector
    if not dimension:
        raise InputError(f"{path}: no words and numbers, one word a line")
