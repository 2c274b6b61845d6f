"""Models that cannot be imported are refused with an error that names the place; whole models are converted."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgeinfer
from converters.onnx import import_model
from edgeinfer.errors import ConversionError, UnsupportedOperatorError
from edgeinfer.graph import Graph
from edgeinfer.ops import run_graph


def model_of(*nodes, initializers=(), opset=21, domains=(), functions=(), inputs=(("x", TensorProto.FLOAT, [2, 3]),)):
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions))


def relu():
    return helper.make_node("Relu", ["x"], ["y"], name="relu")


def test_a_path_and_a_model_in_memory_give_the_same_graph(tmp_path):
    model = model_of(relu())
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    x = np.array([[-1, 0, 2], [3, -4, 5]], np.float32)
    for source in (model, path, str(path)):
        graph = edgeinfer.convert(source)
        assert isinstance(graph, Graph)
        np.testing.assert_array_equal(run_graph(graph, {"x": x})["y"], np.maximum(x, 0))


def test_a_converted_graph_is_saved(tmp_path):
    path = tmp_path / "model.edge"
    edgeinfer.convert(model_of(relu())).save(path)
    assert path.stat().st_size > 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.edge"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConversionError, match="nothing.onnx: there is no such file"):
        import_model(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"hello, world" * 50, bytes(1000)])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(ConversionError, match="other.onnx"):
        import_model(path)


def test_every_truncation_is_refused(tmp_path):
    whole = model_of(relu()).SerializeToString()
    path = tmp_path / "cut.onnx"
    opset = len(helper.make_opsetid("", 21).SerializeToString()) + 2
    for size in range(len(whole) - opset):
        path.write_bytes(whole[:size])
        with pytest.raises(ConversionError):
            import_model(path)


def test_everything_unsupported_is_listed_at_once():
    nodes = [
        helper.make_node("Nonsense", ["x"], ["a"], name="first"),
        helper.make_node("Nonsense", ["a"], ["b"], name="second"),
        helper.make_node("Relu", ["b"], ["c"], name="third", surprise=1),
        helper.make_node("Magic", ["c"], ["y"], name="fourth", domain="com.example"),
    ]
    with pytest.raises(UnsupportedOperatorError) as caught:
        import_model(model_of(*nodes, domains=["com.example"]))
    assert caught.value.problems == [
        "operator Nonsense (opset 21): nodes 'first', 'second'",
        "attribute 'surprise' of operator Relu: node 'third'",
        "operator Magic (domain 'com.example'): node 'fourth'",
    ]


def test_branches_are_refused_with_the_unsupported_operators_in_them():
    branch = helper.make_graph(
        [helper.make_node("Nonsense", ["x"], ["r"], name="inner")],
        "branch",
        [],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)],
    )
    condition = numpy_helper.from_array(np.array(True), "condition")
    node = helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch)
    with pytest.raises(UnsupportedOperatorError) as caught:
        import_model(model_of(node, initializers=[condition]))
    assert any("operator If " in problem for problem in caught.value.problems)
    assert any("Nonsense" in problem and "'inner'" in problem for problem in caught.value.problems)


def test_functions_of_the_model_are_inlined():
    body = [helper.make_node("Add", ["a", "a"], ["t"]), helper.make_node("Neg", ["t"], ["b"])]
    function = helper.make_function("own", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 21)])
    call = helper.make_node("Twice", ["x"], ["y"], domain="own")
    graph = import_model(model_of(call, domains=["own"], functions=[function]))
    assert [node.op for node in graph.nodes] == ["Add", "Neg"]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(run_graph(graph, {"x": x})["y"], -2 * x)


def external(tmp_path):
    weight = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(3, 4), "w")
    model = model_of(helper.make_node("MatMul", ["x", "w"], ["y"]), initializers=[weight])
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def test_external_data_is_read(tmp_path):
    graph = import_model(external(tmp_path))
    np.testing.assert_array_equal(graph.constants["w"], np.arange(12, dtype=np.float32).reshape(3, 4))


@pytest.mark.parametrize("size", [None, 0, 20])
def test_missing_or_short_external_data_is_refused(tmp_path, size):
    path = external(tmp_path)
    weights = tmp_path / "weights.bin"
    if size is None:
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(ConversionError, match="tensor 'w' cannot be read"):
        import_model(path)


def test_external_data_of_a_model_in_memory_is_refused(tmp_path):
    model = onnx.load(external(tmp_path), load_external_data=False)
    with pytest.raises(ConversionError, match=r"import the \.onnx file by its path"):
        import_model(model)


@pytest.mark.parametrize(("opset", "message"), [(5, "reads 6 and newer"), (999, "install a newer onnx")])
def test_opsets_too_old_or_too_new_are_refused(opset, message):
    with pytest.raises(ConversionError, match=message):
        import_model(model_of(relu(), opset=opset))


def test_a_value_that_nothing_defines_is_refused():
    with pytest.raises(ConversionError, match="not a valid ONNX model.*'missing'"):
        import_model(model_of(helper.make_node("Relu", ["missing"], ["y"])))
