"""Choices of kernels: measured, stored, read again, and never in the way."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.cli import main
from edgeinfer.errors import KernelError
from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.plan.strips import CHAINS, WHOLE
from edgeinfer.runtime import session as session_module
from edgeinfer.runtime import tuning
from edgeinfer.runtime.session import Session
from edgeinfer.tools import tune as tune_module
from edgeinfer.tools.tune import tune

SHAPES = {"x": (1, 16, 24, 24)}


@pytest.fixture
def graph() -> Graph:
    graph = Graph("net", ["x"], ["y"], [], {"x": TensorType(DType.FLOAT32, (1, 16, "h", "w"))})
    random = np.random.default_rng(0)
    weights = [graph.add_constant("w", random.standard_normal((16, 16, 3, 3), np.float32)) for _ in range(2)]
    graph.nodes = [
        Node("Conv", ["x", weights[0]], ["t"], {"pads": [1] * 4}, "first"),
        Node("Conv", ["t", weights[1]], ["y"], {"pads": [1] * 4}, "second"),
    ]
    return graph


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of choices of this test's own; kernels stay in the user's."""
    monkeypatch.setattr(tuning, "cache_root", lambda: tmp_path / "cache")
    monkeypatch.setattr(session_module, "cache_path", lambda: str(tmp_path / "cache"))
    return tmp_path / "cache"


def kernels_used(session: Session, node: str) -> set[str]:
    return {step.call.kernel.name for step in session.plan(SHAPES).native_steps() if step.call.node == node}


def test_every_candidate_computes_the_same(graph):
    x = np.random.default_rng(1).standard_normal(SHAPES["x"], np.float32)
    with Session(graph, 1, choices={}) as session:
        expected = session.run({"x": x})["y"]
        candidates = session.plan(SHAPES).candidates["first"]
    assert len(candidates) > 2
    assert len(set(candidates)) == len(candidates)
    for kernel in candidates:
        with Session(graph, 1, choices={"first": kernel}) as session:
            assert kernel in kernels_used(session, "first")
            np.testing.assert_allclose(session.run({"x": x})["y"], expected, rtol=1e-3, atol=1e-3)


def test_what_was_stored_is_used_for_these_shapes_and_threads_only(graph):
    with Session(graph, 1) as session:
        planned = kernels_used(session, "second")
        other = next(name for name in session.plan(SHAPES).candidates["second"] if name not in planned)
        tuning.write_choices(session.tuning_file(SHAPES), {"second": other})
    with Session(graph, 1) as session:
        assert other in kernels_used(session, "second")
        assert session.tuning_file({"x": (1, 16, 8, 8)}) != session.tuning_file(SHAPES)
    with Session(graph, 2) as session:
        assert other not in kernels_used(session, "second")


@pytest.mark.parametrize("text", ["", "{", '{"choices": 3}', '{"choices": {"second": 4}}', "[]"])
def test_damaged_files_are_ignored_with_a_warning(graph, text):
    with Session(graph, 1, choices={}) as session:
        planned = kernels_used(session, "second")
        path = session.tuning_file(SHAPES)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with Session(graph, 1) as session, pytest.warns(UserWarning, match="delete it or tune again"):
        assert kernels_used(session, "second") == planned


def test_kernels_that_do_not_exist_are_ignored(graph):
    with Session(graph, 1, choices={"second": "f32_conv__9x99_none", "none": "x"}) as session:
        assert kernels_used(session, "second")


def test_tuning_stores_what_is_quicker_and_nothing_else(graph):
    result = tune(graph, SHAPES, 1)
    assert result.nodes == 2
    assert tuning.read_choices(result.path) == result.choices
    assert result.after_ms <= result.before_ms
    assert not result.choices or result.after_ms < result.before_ms
    with Session(graph, 1) as session:
        for node, kernel in result.choices.items():
            assert kernel in kernels_used(session, node)


def test_chains_run_node_by_node_where_that_is_quicker(monkeypatch):
    graph = Graph("net", ["x"], ["y"], [], {"x": TensorType(DType.FLOAT32, (1, 16, 48, 48))})
    random = np.random.default_rng(0)
    for name, shape, read, made in (("wide", (64, 16, 1, 1), "x", "a"), ("deep", (64, 1, 3, 3), "a", "y")):
        weight = graph.add_constant(name, random.standard_normal(shape, np.float32))
        graph.nodes.append(
            Node("Conv", [read, weight], [made], {"group": 64 // shape[1] if name == "deep" else 1}, name)
        )
    shapes = {"x": (1, 16, 48, 48)}
    # As planned, with the kernels found, and with these node by node.
    monkeypatch.setattr(tune_module, "_in_turn", lambda *arguments: [2.0, 3.0, 1.0])
    result = tune(graph, shapes, 2)
    assert result.choices[CHAINS] == WHOLE
    assert (result.before_ms, result.after_ms) == (2000.0, 1000.0)
    for choices, by_strips in ((None, False), ({}, True)):
        with Session(graph, 2, choices=choices) as session:
            families = {step.call.kernel.family for step in session.plan(shapes).native_steps()}
            assert ("run_strips" in families) == by_strips


def test_a_cache_that_cannot_be_written_is_named(graph, cache):
    cache.write_text("a file")
    with pytest.raises(KernelError, match="set EDGEINFER_CACHE to a folder"):
        tune(graph, SHAPES, 1)


def test_the_verb_says_what_came_of_it(graph, tmp_path, capsys):
    graph.save(tmp_path / "m.edge")
    assert main(["tune", str(tmp_path / "m.edge"), "--shape", "x=1x16x24x24", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "quickest here" in out or "ms become" in out
