"""Damaged and forged .edge files: always a FormatError with the reason."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.errors import FormatError
from edgeinfer.format import read_edge
from edgeinfer.format.edge_file import _header_digest
from edgeinfer.graph import Graph, verify


def header_end(contents: bytes) -> int:
    return 8 + int.from_bytes(contents[:8], "little")


def frame(header: bytes, data: bytes = b"") -> bytes:
    header += b" " * (-(len(header) + 8) % 64)
    return len(header).to_bytes(8, "little") + header + data


def parts_of(contents: bytes) -> tuple[dict, bytes]:
    end = header_end(contents)
    return json.loads(contents[8:end]), contents[end:]


def sealed(header: dict, data: bytes) -> bytes:
    """A file whose checksums fit whatever the header says."""
    header["__metadata__"]["header_sha256"] = _header_digest(header)
    return frame(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"), data)


def test_damage_at_every_byte_of_the_header_is_found(edge_bytes):
    generator = np.random.default_rng(0)
    tried = 0
    for place in range(header_end(edge_bytes)):
        damaged = bytearray(edge_bytes)
        for value in {edge_bytes[place] ^ (1 << int(generator.integers(8))), int(generator.integers(256)), 0, 32}:
            if value == edge_bytes[place]:
                continue
            damaged[place] = value
            tried += 1
            with pytest.raises(FormatError):
                read_edge(bytes(damaged))
    assert tried > 3000


@settings(max_examples=1000, deadline=None)
@given(data=st.data())
def test_damage_at_several_bytes_of_the_header_is_found(edge_bytes, data):
    damaged = bytearray(edge_bytes)
    places = st.integers(0, header_end(edge_bytes) - 1)
    for place, value in data.draw(st.dictionaries(places, st.integers(0, 255), min_size=1, max_size=8)).items():
        damaged[place] = value
    if bytes(damaged) != edge_bytes:
        with pytest.raises(FormatError):
            read_edge(bytes(damaged))


def test_other_spellings_of_the_same_header_are_refused(edge_bytes):
    header, data = parts_of(edge_bytes)
    spellings = [
        json.dumps(header, separators=(",", ": "), ensure_ascii=False),
        json.dumps(header, separators=(",", ":"), ensure_ascii=True),
        json.dumps(header, separators=(",", ":"), ensure_ascii=False) + " " * 64,
        "\t" + json.dumps(header, separators=(",", ":"), ensure_ascii=False),
    ]
    for text in spellings:
        with pytest.raises(FormatError, match="the one way"):
            read_edge(frame(text.encode(), data))


def test_a_cut_anywhere_is_found(edge_bytes):
    for length in range(len(edge_bytes)):
        with pytest.raises(FormatError):
            read_edge(edge_bytes[:length])


def test_bytes_behind_the_end_are_found(edge_bytes):
    with pytest.raises(FormatError, match="but the file holds"):
        read_edge(edge_bytes + b"\0")


def test_damage_in_the_data_is_found_when_asked_for(edge_bytes):
    for place in range(header_end(edge_bytes), len(edge_bytes), 7):
        damaged = bytearray(edge_bytes)
        damaged[place] ^= 1
        with pytest.raises(FormatError, match="tensors do not fit their checksum"):
            read_edge(bytes(damaged), verify=True)


@settings(max_examples=500, deadline=None)
@given(contents=st.one_of(st.binary(max_size=200), st.binary(max_size=80).map(frame)))
def test_random_bytes_are_no_model(contents):
    with pytest.raises(FormatError):
        read_edge(contents)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "the file has 0 bytes"),
        (b"PK\x03\x04 not a model at all", "not an .edge file"),
        ((1 << 20).to_bytes(8, "little") + b"{}", "it is cut short"),
        (frame(b"[]"), "not a JSON object"),
        (frame(b"{}"), "no edgeinfer model"),
        (frame(b'{"a":NaN}'), "NaN, which is not JSON"),
        (frame(b'{"a":1e999}'), "1e999, which is too large"),
        (frame(b'{"a":' + b"9" * 5000 + b"}"), "a number of 5000 digits"),
        (frame(b'{"a":1,"a":2}'), "the name 'a' twice"),
        (frame(b'{"a":' + b"[" * 200000), "nested too deeply"),
        (frame(b'{"a":' * 200000), "nested too deeply"),
        (frame(b'{"a":"\xff"}'), "not valid JSON"),
        (frame(b'{"__metadata__":[]}'), "not an object of texts"),
        (frame(b'{"__metadata__":{"format":1}}'), "'format' of __metadata__ should be a text, found 1"),
        (frame(b'{"__metadata__":{"format":"\\ud800"}}'), "not valid Unicode"),
        (frame(b'{"__metadata__":{"format":"edgeinfer","version":"9"}}'), "version '9'"),
        (frame(b'{"__metadata__":{"format":"edgeinfer","version":"1"}}'), "lacks \\['data_sha256', 'graph'"),
    ],
)
def test_other_files_give_a_reason(contents, message):
    with pytest.raises(FormatError, match=message):
        read_edge(contents)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "F8"}, "unknown dtype 'F8'"),
        ({"dtype": ["F32"]}, "unknown dtype"),
        ({"dtype": "F64"}, "takes 1080 bytes, but lies at 0 to 540"),
        ({"shape": [5, 3, 3, -3]}, "not valid"),
        ({"shape": [5, 3, 3, 3.0]}, "not valid"),
        ({"shape": [5, 3, 3, True]}, "not valid"),
        ({"shape": [1 << 62, 1 << 62]}, "not valid"),
        ({"shape": [135] + [1] * 40}, "not valid"),
        ({"shape": [0, 1 << 39, 1 << 39], "data_offsets": [0, 0]}, "not valid"),
        ({"shape": 3}, "not valid"),
        ({"data_offsets": [0]}, "data_offsets"),
        ({"data_offsets": [-64, 476]}, "data_offsets"),
        ({"data_offsets": [0, 541]}, "takes 540 bytes"),
        ({"data_offsets": [1 << 30, (1 << 30) + 540]}, "of the data, which ends at"),
        ({"data_offsets": [64, 604]}, "shares bytes|leaves a hole"),
        ({"data_offsets": [4, 544]}, "no multiple of 64"),
        ({"extra": 1}, "not described by"),
    ],
)
def test_forged_tensors_give_a_reason(edge_bytes, change, message):
    header, data = parts_of(edge_bytes)
    header["w"].update(change)
    with pytest.raises(FormatError, match=message):
        read_edge(sealed(header, data))


def test_booleans_that_are_none_are_found(edge_bytes):
    header, data = parts_of(edge_bytes)
    start = header["flags"]["data_offsets"][0]
    with pytest.raises(FormatError, match="'flags' is of BOOL but holds other values"):
        read_edge(sealed(header, data[:start] + b"\x02" + data[start + 1 :]))


def places_of(value, path=()):
    """All places in a JSON value, as paths."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places_of(item, (*path, key))


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3),
        st.sampled_from(["x", "w", "y", "float32", "1/body/w", "\ud800"]),
    ),
    lambda values: st.one_of(
        st.lists(values, max_size=3),
        st.dictionaries(st.sampled_from(["graph", "tensor", "list", "value", "float", "w", "x"]), values, max_size=2),
    ),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=2000, deadline=None)
@given(data=st.data())
def test_forged_graphs_with_fitting_checksums_are_read_or_refused(edge_bytes, data):
    header, tensors = parts_of(edge_bytes)
    graph = json.loads(header["__metadata__"]["graph"])
    path = data.draw(st.sampled_from(list(places_of(graph))))
    forged = {"root": copy.deepcopy(graph)}
    place = forged
    for key in ("root", *path)[:-1]:
        place = place[key]
    last = ("root", *path)[-1]
    if data.draw(st.booleans()) or path == ():
        place[last] = data.draw(JSON_VALUES)
    else:
        del place[last]
    header["__metadata__"]["graph"] = json.dumps(forged["root"])
    try:
        read = read_edge(sealed(header, tensors))
    except FormatError:
        return
    assert isinstance(read, Graph)
    verify(read)


def test_deeply_nested_bodies_are_refused(edge_bytes):
    header, data = parts_of(edge_bytes)
    graph = json.loads(header["__metadata__"]["graph"])
    for _ in range(20):
        node = {
            "op": "If",
            "domain": "",
            "name": "n",
            "inputs": [],
            "outputs": [],
            "attributes": {"b": {"graph": graph}},
        }
        graph = {**graph, "nodes": [node]}
    header["__metadata__"]["graph"] = json.dumps(graph)
    with pytest.raises(FormatError, match="nested more than 16 deep"):
        read_edge(sealed(header, data))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("nodes", {}, "the nodes should be a list"),
        ("inputs", ["x", 1], "one of the inputs should be a text, found 1"),
        ("constants", {"w": "nothing"}, "refers to the tensor 'nothing', which the file does not hold"),
        ("types", {"w": ["float16", [5, 3, 3, 3]]}, "'w' is declared as float16\\[5x3x3x3\\], but stored as float32"),
        ("types", {"x": ["float33", [1]]}, "unknown dtype 'float33'"),
        ("types", {"x": ["float32", [-1]]}, "has the dimension -1"),
        ("outputs", ["nothing"], "output 'nothing' is not defined"),
    ],
)
def test_forged_parts_of_the_graph_give_a_reason(edge_bytes, key, value, message):
    header, data = parts_of(edge_bytes)
    graph = json.loads(header["__metadata__"]["graph"])
    graph[key] = value
    header["__metadata__"]["graph"] = json.dumps(graph)
    with pytest.raises(FormatError, match=message):
        read_edge(sealed(header, data))
