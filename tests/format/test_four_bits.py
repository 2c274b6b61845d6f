"""4-bit integers, two in a byte in the file."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.errors import FormatError
from edgeinfer.format import read_edge, write_edge
from edgeinfer.format.four_bits import pack_four_bits, unpack_four_bits
from edgeinfer.graph import DType, Graph, Node, TensorType


@pytest.mark.parametrize(("dtype", "low"), [(DType.INT4, -8), (DType.UINT4, 0)])
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (3, 5), (16,), (2, 2, 4)])
def test_values_survive_packing(dtype, low, shape):
    values = np.random.default_rng(0).integers(low, low + 16, shape).astype(dtype.numpy)
    packed = pack_four_bits(values)
    assert packed.nbytes == (values.size + 1) // 2
    back = unpack_four_bits(packed, TensorType(dtype, shape), "w")
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)


def _graph(values: np.ndarray, dtype: DType) -> Graph:
    graph = Graph("four", ["x"], ["y"], [], {"x": TensorType(DType.FLOAT32, (1, 5))})
    weight = graph.add_constant("w", values, dtype)
    scale = graph.add_constant("s", np.ones((1, 7), np.float32))
    graph.nodes = [
        Node("DequantizeLinear", [weight, scale], ["numbers"], {"axis": 0, "block_size": 32}, "d"),
        Node("MatMul", ["x", "numbers"], ["y"], {}, "m"),
    ]
    return graph


def test_files_hold_two_in_a_byte(tmp_path):
    values = np.random.default_rng(0).integers(-8, 8, (5, 7)).astype(np.int8)
    write_edge(_graph(values, DType.INT4), tmp_path / "m.edge")
    back = read_edge(tmp_path / "m.edge", verify=True)
    assert back.types["w"] == TensorType(DType.INT4, (5, 7))
    np.testing.assert_array_equal(back.constants["w"], values)
    large = np.zeros((500, 700), np.int8)
    sizes = []
    for dtype in (DType.INT4, DType.INT8):
        write_edge(_graph(large, dtype), tmp_path / "m.edge")
        sizes.append((tmp_path / "m.edge").stat().st_size)
    assert 0.5 <= sizes[0] / sizes[1] < 0.51


@pytest.mark.parametrize(
    ("packed", "shape", "message"),
    [
        (np.zeros(17, np.uint8), (5, 7), r"takes uint8\[18\], but stored as uint8\[17\]"),
        (np.zeros(18, np.int8), (5, 7), r"stored as int8\[18\]"),
        (np.zeros((2, 9), np.uint8), (5, 7), r"stored as uint8\[2, 9\]"),
        (np.full(18, 255, np.uint8), (5, 7), "an integer more than its shape"),
        (np.zeros(18, np.uint8), ("n", 7), "which is no shape of a tensor"),
        (np.zeros(18, np.uint8), None, "which is no shape of a tensor"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(packed, shape, message):
    with pytest.raises(FormatError, match=message):
        unpack_four_bits(packed, TensorType(DType.INT4, shape), "constant 'w'")
