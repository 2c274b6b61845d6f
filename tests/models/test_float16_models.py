"""Whole models with float16 tensors and arithmetic against the same in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeinfer.format import read_edge
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.session import Session

MODEL = Path(__file__).resolve().parents[2] / "models" / "multistyle26" / "multistyle26.edge"

needs_float16 = pytest.mark.skipif("dotprod" not in available_levels(), reason="this CPU has no Armv8.2 float16")


@needs_float16
@pytest.mark.parametrize("threads", [1, 2])
def test_float16_restyles_a_picture_as_float32_does(threads):
    generator = np.random.default_rng(0)
    style = np.zeros(26, np.float32)
    style[8] = 1
    # Smooth, as photographs are.
    noise = generator.random((1, 3, 16, 20), np.float32)
    feeds = {"image": np.kron(noise, np.ones((1, 1, 8, 8), np.float32)), "style_weights": style}
    graph, kernels = read_edge(MODEL), kernels_for("dotprod")
    with Session(graph, threads, kernels) as session:
        (expected,) = session.run(feeds).values()
    with Session(graph, threads, kernels, precision="float16") as session:
        assert not any(port.dtype.numpy != np.float32 for port in [*session.inputs, *session.outputs])
        plan = session.plan({name: array.shape for name, array in feeds.items()})
        (result,) = session.run(feeds).values()
    assert plan.host_steps() == []
    convolutions = [step.call.kernel.name for step in plan.native_steps() if step.call.op == "Conv"]
    assert all(name.startswith("f16_") for name in convolutions)
    error = result - expected
    assert 0 < np.sqrt(np.mean(error**2)) / np.std(expected) < 0.02
