import collections
import io
import os
import pickle
import pickletools

import numpy as np
import pytest

from platform.datasets.readers.plain_pickle import load_plain_pickle
from platform.errors import InputError

CONTENT = {
    "split": {"xsub_train": ["a", "b"], "xsub_val": ()},
    "numbers": [1, -2.5, True, None, b"bytes", 2**70],
    "half": np.arange(6, dtype=np.float16).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.arange(4, dtype=">i4"),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 25, 3), np.float32),
    "scalars": [np.int64(7), np.float32(0.5), np.bool_(True)],
}


def same(found, expected):
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
        return found.dtype == expected.dtype
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], v) for k, v in expected.items())
    if isinstance(expected, list | tuple):
        return type(found) is type(expected) and all(same(f, e) for f, e in zip(found, expected, strict=True))
    return found == expected


@pytest.fixture
def load(tmp_path):
    def load(content):
        path = tmp_path / "content.pkl"
        path.write_bytes(content)
        return load_plain_pickle(path)

    return load


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_and_arrays_come_back_from_every_protocol(load, protocol):
    assert same(load(pickle.dumps(CONTENT, protocol)), CONTENT)


def test_the_names_of_older_releases_of_numpy_are_known(load):
    content = pickle.dumps(CONTENT, 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in content
    assert same(load(content), CONTENT)


class Evil:
    def __init__(self, call, *given):
        self.given = call, given

    def __reduce__(self):
        return self.given


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("call", "given", "named"),
    [
        (os.system, ("touch {}",), "system"),
        (eval, ("open('{}', 'w')",), "eval"),
        (getattr, (np, "load"), "getattr"),
        (np.load, ("{}",), "load"),
        (collections.OrderedDict, (), "OrderedDict"),
        (set, ([1],), "set"),
    ],
)
def test_whatever_a_pickle_names_otherwise_is_refused_and_not_run(load, tmp_path, call, given, named, protocol):
    trace = tmp_path / "trace"
    given = tuple(g.format(trace) if isinstance(g, str) and "{}" in g else g for g in given)
    if call is getattr:
        given = ("text", "upper")
    content = pickle.dumps({"annotations": [Evil(call, *given)]}, protocol)
    with pytest.raises(InputError, match=rf"content\.pkl: refused: the pickle holds `[\w.]*\.{named}`") as caught:
        load(content)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([{}, []], dtype=object), "an array of 'O8', not of numbers"),
        (np.array(["text"]), "an array of 'U4', not of numbers"),
        (np.zeros(2, [("a", "i4")]), "an array of 'V4', not of numbers"),
        (np.dtype("f4"), "a DType"),
        (np.ndarray, "a type"),
        (np.datetime64("2020-01-01"), "an array of 'M8', not of numbers"),
        ({(1, 2): 3}, "a tuple as a key"),
        ({1, 2}, "a set|set`"),
        (slice(1), "slice`"),
        (CONTENT.keys, "getattr`"),
    ],
)
def test_what_is_not_plain_is_refused(load, value, message):
    with pytest.raises(InputError, match=f"refused: the pickle holds .*({message})"):
        load(pickle.dumps([value], 4))


def test_an_array_whose_bytes_do_not_fit_its_shape_is_refused(load):
    content = pickle.dumps(np.arange(6, dtype=np.float32), 2)
    where = next(at for op, value, at in pickletools.genops(content) if op.name == "BININT1" and value == 6)
    with pytest.raises(InputError, match=r"an array of shape \(200,\) in 24 bytes"):
        load(content[: where + 1] + bytes([200]) + content[where + 2 :])


def test_a_reference_to_the_outside_is_refused(load):
    class Persistent(pickle.Pickler):
        def persistent_id(self, value):
            return "elsewhere" if value == "x" else None

    file = io.BytesIO()
    Persistent(file).dump(["x"])
    with pytest.raises(InputError, match="a reference to something outside"):
        load(file.getvalue())


def test_one_file_cannot_change_what_the_next_one_finds(load):
    """BUILD sets attributes of whatever stands below it, here the defaults of a function that stands in for another."""
    content = b"\x80\x02c_codecs\nencode\nN}X\x0c\x00\x00\x00__defaults__K\x01\x85s\x86b."
    with pytest.raises(InputError, match="the pickle holds a function"):
        load(content)
    assert same(load(pickle.dumps(CONTENT)), CONTENT)


def test_a_list_that_holds_itself_has_an_end(load):
    values = [1]
    values.append(values)
    assert load(pickle.dumps(values)) == [1, None]


@pytest.mark.parametrize("content", [b"", b"nothing", pickle.dumps(CONTENT)[:-40], b"\x80\x04\x95\xff"])
def test_a_damaged_file_is_one_line(load, content):
    with pytest.raises(InputError, match=r"content\.pkl: truncated, or no pickle") as caught:
        load(content)
    assert "\n" not in str(caught.value)
