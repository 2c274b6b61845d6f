"""Tensors in float16 between steps, for ``precision="float16"``.

Nodes are visited in order, as they are lowered. A float32 value may have a float16 twin. Nodes that multiply matrices
read and write twins, and those that hardly compute follow their inputs; so a Cast appears only where a node without
float16 kernels, or an output of the graph, needs the original, or where a twin is made of an input.

Before: ``y = Conv(x); z = Relu(y); u = Softmax(z)``
After:  ``x' = Cast(x); y' = Conv(x'); z' = Relu(y'); z = Cast(z'); u = Softmax(z)``
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from edgeinfer.graph import FUSED, ONNX, DType, Node
from edgeinfer.plan.lowering import LoweringContext
from edgeinfer.records import altered

# Code of float16 in ONNX Cast, and of float32.
_FLOAT16, _FLOAT32 = 10, 1

Lower = Callable[[Node], bool]

# Operators that are computed in float16 wherever they stand, with the inputs that are read so; weights are packed.
_LEADING: dict[tuple[str, str], tuple[int, ...]] = {
    (FUSED, "Conv"): (0, 3),
    (FUSED, "ConvTranspose"): (0,),
    (FUSED, "MatMul"): (0,),
    (ONNX, "MatMul"): (0,),
    (ONNX, "Gemm"): (0,),
}
# Operators that follow their inputs, with those that are read in float16; none named stands for all.
_FOLLOWING: dict[tuple[str, str], tuple[int, ...]] = {
    **{
        (domain, op): ()
        for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "PRelu", "Concat")
        for domain in (ONNX, FUSED)
    },
    **{
        (ONNX, op): (0,)
        for op in (
            "Relu", "Clip", "LeakyRelu", "HardSigmoid", "HardSwish", "Sigmoid", "Swish", "Tanh", "Gelu", "Elu", "Abs",
            "Neg", "Floor", "Ceil", "Round", "Transpose", "Slice", "Split", "Expand", "Pad", "Tile", "Gather",
            "ReduceMean", "ReduceMax", "ReduceMin",
        )
    },
    **{
        (FUSED, op): (0,)
        for op in (
            "DepthToSpace", "SpaceToDepth", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize",
            "BatchNormalization",
        )
    },
    (FUSED, "InstanceNormalization"): (0, 3),
}  # fmt: skip


class Float16Twins:
    """The twins of a plan under construction.

    Args:
        context: the plan.
        lower: appends a node's steps; False if there is no kernel for it, and then it has appended nothing.
    """

    def __init__(self, context: LoweringContext, lower: Lower) -> None:
        self._context = context
        self._lower = lower
        self._twins: dict[str, str] = {}
        # Values that exist as twins only.
        self._lacking: set[str] = set()

    def lower(self, node: Node, source: str | None) -> bool:
        """Lower a node with float16 tensors.

        Args:
            node: a node of the static graph.
            source: the input of which its output is a view, None if it is none.

        Returns:
            Whether it was done; if not, nothing has changed.
        """
        if source is not None:
            return self._view(node, source)
        wanted = self._wanted(node)
        if not wanted:
            return False
        state, twins, lacking = self._context.state(), dict(self._twins), set(self._lacking)
        inputs = [self._twin(name) if index in wanted else name for index, name in enumerate(node.inputs)]
        outputs = [self._declare(name) if self._is_float32(name) else name for name in node.outputs]
        others = [name for index, name in enumerate(node.inputs) if index not in wanted]
        self.provide(others)
        if self._lower(altered(node, inputs=inputs, outputs=outputs)):
            self._lacking.update(name for name in node.outputs if self._is_float32(name))
            return True
        self._context.restore(state)
        self._twins, self._lacking = twins, lacking
        return False

    def provide(self, names: Iterable[str]) -> None:
        """Make sure that values exist in their own format."""
        for name in names:
            if name in self._lacking:
                self._cast(self._twins[name], name, _FLOAT32)
                self._lacking.discard(name)

    def _is_float32(self, name: str) -> bool:
        return bool(name) and self._context.dtype(name) is DType.FLOAT32

    def _view(self, node: Node, source: str) -> bool:
        """Make the twin of a view; it stands for the view where there is nothing else to look at."""
        output = node.outputs[0]
        if source in self._twins and self._context.constant(source) is None:
            self._context.alias(self._declare(output), self._twins[source])
        if source not in self._lacking:
            return False
        self._lacking.add(output)
        return True

    def _wanted(self, node: Node) -> set[int]:
        """The inputs that the node reads as twins; none if it is not to be computed in float16."""
        named = _LEADING.get(node.key, _FOLLOWING.get(node.key))
        if named is None or not self._is_float32(node.inputs[0]):
            return set()
        wanted = {
            index for index, name in enumerate(node.inputs) if (not named or index in named) and self._is_float32(name)
        }
        follows = any(node.inputs[index] in self._twins for index in wanted)
        return wanted if node.key in _LEADING or follows else set()

    def _twin(self, name: str) -> str:
        """The twin of a value, made by a Cast if need be."""
        if name not in self._twins:
            if self._context.constant(name) is not None:
                self._twins[name] = self._context.packed(name, "float16", lambda array: array.astype(np.float16))
            else:
                self._cast(name, self._declare(name), _FLOAT16)
        return self._twins[name]

    def _declare(self, name: str) -> str:
        """Name and type of the twin of a value."""
        self._twins[name] = self._context.temporary(f"{name}.float16", self._context.shape(name), DType.FLOAT16)
        return self._twins[name]

    def _cast(self, source: str, target: str, to: int) -> None:
        done = self._lower(Node("Cast", [source], [target], {"to": to}, f"{target}.cast"))
        assert done, f"levels with float16 kernels cast '{source}'"
