"""Chains around depthwise convolutions, run strip by strip, give what their nodes give one after the other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgeinfer.errors import PlanError
from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.ops import run_graph
from edgeinfer.plan import planner
from edgeinfer.plan.chains import find_chains
from edgeinfer.plan.planner import make_plan
from edgeinfer.plan.prepare import prepare
from edgeinfer.plan.step import StripsStep
from edgeinfer.plan.strips import CHAINS, WHOLE, choose_strips
from edgeinfer.plan.verify_arena import verify_arena
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import host_kernels, kernels_for
from edgeinfer.runtime.session import Session
from edgeinfer.simd.levels import LEVELS as CPU_LEVELS

LEVELS = [level for level in available_levels() if not CPU_LEVELS[level].has_floats_of_base]
NHWC = {"layout": "NHWC"}
CLIP = {"activation": "Clip", "activation_parameters": [0.0, 6.0]}


class Block:
    """An inverted residual block, of float32 or of bytes: 1x1, depthwise, 1x1, and the input again."""

    def __init__(
        self, size=(1, 12, 10, 24), wide=48, out=24, kernel=3, stride=1, dilation=1, residual=True, octets=False
    ):
        self.random = np.random.default_rng(kernel + wide)
        self.octets, channels = octets, size[-1]
        dtype = DType.UINT8 if octets else DType.FLOAT32
        self.graph = Graph("block", ["x"], ["y"], [], {"x": TensorType(dtype, size)})
        pad = kernel // 2 * dilation
        self.conv("expand", "x", "a", wide, channels, 1, **CLIP)
        self.conv(
            "depthwise", "a", "b", wide, 1, kernel, pads=[pad] * 4, strides=[stride] * 2, dilations=[dilation] * 2,
            group=wide, **CLIP,
        )  # fmt: skip
        added = residual and stride == 1 and out == channels
        self.conv("project", "b", "c" if octets and added else "y", out, wide, 1, residual="x" if added else "")
        if octets and added:
            names = self.constants("sum", [np.float32(0.02), np.uint8(120), np.float32(0.03), np.uint8(128)])
            inputs = ["x", names[0], names[1], "c", *names[2:4], *names[2:4]]
            self.graph.nodes.append(Node("QAdd", inputs, ["y"], {}, "add", FUSED))

    def constants(self, stem: str, arrays: list) -> list[str]:
        return [self.graph.add_constant(f"{stem}{i}", np.asarray(array)) for i, array in enumerate(arrays)]

    def conv(self, name, x, y, out, channels, kernel, residual="", **attributes):
        shape, attributes = (out, channels, kernel, kernel), {**NHWC, **attributes}
        if self.octets:
            attributes = {key: value for key, value in attributes.items() if not key.startswith("activation")}
            arrays = [
                np.float32(0.02), np.uint8(120), self.random.integers(-127, 128, shape).astype(np.int8),
                np.full(out, 0.01 / np.sqrt(channels * kernel * kernel), np.float32), np.int8(0), np.float32(0.02),
                np.uint8(120), self.random.integers(-3000, 3000, out).astype(np.int32),
            ]  # fmt: skip
            names = self.constants(name, arrays)
            self.graph.nodes.append(Node("QConv", [x, *names], [y], attributes, name, FUSED))
            return
        weight = self.random.standard_normal(shape, np.float32) / np.float32(np.sqrt(channels) * kernel)
        names = self.constants(name, [weight, self.random.standard_normal(out, np.float32)])
        inputs = [x, *names, residual] if residual else [x, *names]
        self.graph.nodes.append(Node("Conv", inputs, [y], attributes, name, FUSED))

    def feeds(self) -> dict[str, np.ndarray]:
        shape = self.graph.types["x"].shape
        if self.octets:
            return {"x": self.random.integers(0, 256, shape).astype(np.uint8)}
        return {"x": self.random.standard_normal(shape, np.float32)}


def steps_of(graph: Graph, threads: int = 2, **arguments) -> list[StripsStep]:
    """The steps of a graph's plan that are run strip by strip; the plan is verified."""
    plan = make_plan(prepare(graph), {"x": graph.types["x"].shape}, host_kernels().kernel_set, threads, **arguments)
    verify_arena(plan)
    return [step.call for step in plan.native_steps() if isinstance(step.call, StripsStep)]


def cut_at(*bounds: int):
    """A ``choose_strips`` that takes whole chains, cut at the given rows."""

    def choose(chain, threads, cache_bytes):
        height = chain[-1].out_height
        rows = [0, *[row for row in bounds if row < height], height]
        return list(chain), list(itertools.pairwise(rows))

    return choose


CASES = [
    {},
    {"kernel": 5},
    {"stride": 2, "out": 40},
    {"stride": 2, "kernel": 5, "size": (1, 11, 9, 20), "out": 7},
    {"dilation": 2},
    {"size": (2, 7, 7, 16), "wide": 96, "out": 16},
    {"size": (3, 2, 5, 8), "wide": 16, "out": 8},
    {"size": (1, 9, 13, 17), "wide": 51, "out": 17},
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("octets", [False, True], ids=["floats", "bytes"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_any_cut_gives_what_whole_pictures_give(case, octets, level, monkeypatch):
    block = Block(**case, octets=octets)
    feeds, kernels = block.feeds(), kernels_for(level)
    with Session(block.graph, threads=2, kernels=kernels, choices={CHAINS: WHOLE}) as session:
        expected = session.run(feeds)["y"]
        assert not any(isinstance(s.call, StripsStep) for s in session.plan({"x": feeds["x"].shape}).native_steps())
    for cut in ((), (1,), (2, 3), (4,), (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)):
        monkeypatch.setattr(planner, "choose_strips", cut_at(*cut))
        for threads in (1, 3):
            with Session(block.graph, threads=threads, kernels=kernels, choices={}) as session:
                plan = session.plan({"x": feeds["x"].shape})
                verify_arena(plan)
                (step,) = [s.call for s in plan.native_steps() if isinstance(s.call, StripsStep)]
                assert step.nodes[:3] == ["expand", "depthwise", "project"]
                result = session.run(feeds)["y"]
            if octets:
                np.testing.assert_array_equal(result, expected)
            else:
                np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
    reference = run_graph(block.graph, feeds)["y"]
    np.testing.assert_allclose(result, reference, rtol=1e-4, atol=0 if octets else 1e-4)


def test_the_macs_of_a_step_are_those_of_its_nodes(monkeypatch):
    block = Block()
    monkeypatch.setattr(planner, "choose_strips", cut_at(1, 5, 6))
    (step,) = steps_of(block.graph)
    pixels = 12 * 10
    assert step.macs == pixels * (24 * 48 + 48 * 9 + 48 * 24)
    assert len(step.strips) == 4


def test_what_a_strip_hands_on_needs_no_place_in_the_arena():
    graph = Block(size=(1, 112, 112, 16), wide=96, out=16).graph
    shapes, kernels = {"x": graph.types["x"].shape}, host_kernels().kernel_set
    plan = make_plan(prepare(graph), shapes, kernels, 1)
    whole = make_plan(prepare(graph), shapes, kernels, 1, choices={CHAINS: WHOLE})
    assert any(isinstance(step.call, StripsStep) for step in plan.native_steps())
    assert plan.arena_bytes < whole.arena_bytes / 3


@pytest.mark.parametrize("where", ["readers", "output"])
def test_what_others_read_is_handed_on_to_nobody(where):
    graph = Block(size=(1, 64, 64, 32), wide=192, out=32).graph
    assert steps_of(graph)[0].nodes == ["expand", "depthwise", "project"]
    if where == "readers":
        graph.nodes.append(Node("Neg", ["a"], ["n"], {}, "negated"))
        graph.outputs.append("n")
    else:
        graph.outputs.append("a")
    assert [step.nodes for step in steps_of(graph)] == [["depthwise", "project"]]


def test_small_pictures_of_one_thread_are_not_cut():
    assert steps_of(Block(size=(1, 14, 14, 32), wide=64, out=32).graph, threads=1) == []


def chain_of(height: int, wide: int = 96, kernel: int = 3):
    """The links of a block and of what follows."""
    graph = prepare(Block(size=(1, height, height, 32), wide=wide, out=32, kernel=kernel).graph)
    context = planner.LoweringContext(
        host_kernels().kernel_set, 1, dict(graph.types), dict(graph.constants), readers=planner._count_readers(graph)
    )
    (chain,) = find_chains(graph, context)
    return chain


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("height", [1, 2, 3, 7, 14, 28, 56, 113])
@pytest.mark.parametrize("cache", [1 << 10, 1 << 18, 1 << 20])
def test_strips_cover_the_picture_and_share_the_work_out(height, threads, cache):
    chain = chain_of(height)
    part, strips = choose_strips(chain, threads, cache)
    if not part:
        assert strips == []
        return
    assert part == chain[-len(part) :]
    assert [first for first, _ in strips] == [0, *[last for _, last in strips[:-1]]]
    assert strips[-1][1] == height
    work = sum(
        (last - first) * chain[-1].row_work
        + sum((rows.stop - rows.start) * link.row_work for link, rows in spans(part, first, last))
        for first, last in strips
    )
    assert work <= 1.25 * sum(link.row_work * link.out_height for link in part)


def spans(part, first: int, last: int):
    """The rows of all but the last picture of a strip, each with the link that makes it."""
    for link, behind in zip(part[-2::-1], part[:0:-1], strict=True):
        first, last, _, _ = behind.rows_for(first, last)
        yield link, slice(first, last)


def test_forged_strips_are_seen(monkeypatch):
    monkeypatch.setattr(planner, "choose_strips", lambda chain, *_: (list(chain), [(0, 5), (6, 12)]))
    with pytest.raises(PlanError, match="overlap or leave out"):
        steps_of(Block().graph)
    monkeypatch.setattr(planner, "choose_strips", lambda chain, *_: (list(chain), [(0, 5), (5, 11)]))
    with pytest.raises(PlanError, match="end at"):
        steps_of(Block().graph)


def test_bfloat16_chains_are_run_strip_by_strip_too(monkeypatch):
    if not any(host_kernels().kernel_set.family(name) for name in ("bf16_conv", "bf16_amx_conv")):
        pytest.skip("this CPU has no bfloat16 arithmetic")
    block = Block(size=(1, 24, 24, 32), wide=64, out=32)
    feeds = block.feeds()
    with Session(block.graph, threads=2, precision="bfloat16", choices={CHAINS: WHOLE}) as session:
        expected = session.run(feeds)["y"]
    monkeypatch.setattr(planner, "choose_strips", cut_at(5, 11))
    with Session(block.graph, threads=2, precision="bfloat16", choices={}) as session:
        np.testing.assert_allclose(session.run(feeds)["y"], expected, rtol=1e-2, atol=2e-2)
