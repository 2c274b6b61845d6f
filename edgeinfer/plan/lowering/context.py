"""What a lowering function may ask and tell: one node of a static graph becomes steps."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

from edgeinfer.graph import ONNX, DType, Node, TensorType
from edgeinfer.name_index import NameIndex
from edgeinfer.plan.kernel_set import KernelRow, KernelSet
from edgeinfer.plan.packing import Packing
from edgeinfer.plan.step import KernelStep, Step
from edgeinfer.records import NamedTuple

Made = TypeVar("Made")

# Names of the operators that each module of this folder lowers, of whatever domain.
INDEX = NameIndex(
    "edgeinfer.plan.lowering",
    {
        "conv": "Conv",
        "conv_transpose": "ConvTranspose QConvTranspose",
        "copy": "Concat DepthToSpace Expand Identity Slice SpaceToDepth Split Transpose",
        "elementwise": "Abs Add Cast Ceil Clip Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Max Min"
        " Mul Neg PRelu Reciprocal Relu Round Sigmoid Sqrt Sub Sum Swish Tanh",
        "index": "Gather Pad Tile",
        "instance_norm": "BatchNormalization InstanceNormalization",
        "matmul": "Gemm MatMul",
        "pool": "AveragePool MaxPool",
        "quantize": "DequantizeLinear QuantizeLinear",
        "quantized_conv": "QConv QMatMul",
        "quantized_elementwise": "QAdd QMul QTable",
        "quantized_instance_norm": "QInstanceNormalization",
        "quantized_pool": "QAveragePool QGlobalAveragePool",
        "quantized_softmax": "QSoftmax",
        "reduce": "GlobalAveragePool GlobalMaxPool LayerNormalization LogSoftmax ReduceL1 ReduceL2 ReduceMax ReduceMean"
        " ReduceMin ReduceSum ReduceSumSquare Softmax",
        "resize": "Resize",
    },
)


class NotNative(Exception):
    """Raised by a lowering function when no kernel fits; the text says why, for the user to read."""


class RepeatedPicture(NamedTuple):
    """A picture whose pixels are those of another one, channels last, each ``rows`` x ``columns`` times."""

    source: str
    rows: int
    columns: int

    def dims(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of such a picture with axes of their own for what is repeated."""
        batch, height, width, channels = shape
        return batch, height // self.rows, self.rows, width // self.columns, self.columns, channels


class NormalisedPicture(NamedTuple):
    """A picture, channels last, that is ``source * scale + shift`` with a scale and a shift by channel, then bounded.

    Attributes:
        source: the picture that it is made of.
        affine: tensor of scales, and ``pitch`` floats behind them shifts.
        pitch: floats from a scale to its shift.
        image_floats: floats from one image's scales to the next's, 0 if all share them.
        low: least value.
        high: greatest value.
    """

    source: str
    affine: str
    pitch: int
    image_floats: int
    low: float
    high: float


class LoweringContext:
    """The plan under construction, as lowering functions see it.

    All shapes are known integers. Tensors are row-major in the order of their type's shape.

    Attributes:
        kernels: the kernels that may be used.
        threads: number of workers.
        types: type of every tensor.
        constants: contents of constant tensors.
        steps: the steps so far.
        aliases: tensors that share the memory of another: alias name to owner name.
        offsets: where those begin that are only a part of it, in bytes from its first.
        precision: number format, see ``Session``.
        packed_names: names of constants made from others, by (source, packing).
        packings: constants that are yet to be made, by name.
        choices: names of kernels to take instead of those that are estimated to be quickest, by node.
        candidates: names of the kernels that each node could take, the one that is estimated to be quickest first.
        repeated: pictures that repeat the pixels of others: a reader may take these instead.
        normalised: pictures that are others normalised: a reader may take these instead, and normalise what it reads.
        readers: how many nodes and outputs of the graph read each tensor.
        bindings: how many inputs and outputs the graph has.
    """

    def __init__(
        self,
        kernels: KernelSet,
        threads: int,
        types: dict[str, TensorType],
        constants: dict[str, np.ndarray],
        packed: Mapping[tuple[str, str], np.ndarray] | None = None,
        precision: str = "float32",
        choices: Mapping[str, str] | None = None,
        readers: Mapping[str, int] | None = None,
        bindings: int = 0,
    ) -> None:
        self.kernels = kernels
        self.threads = threads
        self.types = types
        self.constants = constants
        self.steps: list[Step] = []
        self.aliases: dict[str, str] = {}
        self.offsets: dict[str, int] = {}
        self.packed_names: dict[tuple[str, str], str] = {}
        self.packings: dict[str, Packing] = {}
        self.precision = precision
        self.choices = choices or {}
        self.candidates: dict[str, list[str]] = {}
        self.repeated: dict[str, RepeatedPicture] = {}
        self.normalised: dict[str, NormalisedPicture] = {}
        self.readers = readers or {}
        self.bindings = bindings
        self._earlier = packed or {}
        self._made: dict[tuple[Hashable, ...], Any] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        """The static shape of a tensor."""
        shape = self._shapes.get(name)
        if shape is None:
            shape = self._shapes[name] = tuple(map(int, self.types[name].shape or ()))
        return shape

    def dtype(self, name: str) -> DType:
        """The dtype of a tensor."""
        return self.types[name].dtype

    def constant(self, name: str) -> np.ndarray | None:
        """Contents of a tensor if it is constant."""
        return self.constants.get(name)

    def require_dtype(self, dtype: DType, *names: str) -> None:
        """Raise NotNative unless all named tensors (``""`` is skipped) have the dtype."""
        for name in names:
            if name and self.dtype(name) is not dtype:
                raise NotNative(f"'{name}' is {self.dtype(name).value}; there are only {dtype.value} kernels")

    def float_kernels(self, *names: str) -> str:
        """The prefix of kernels for tensors (``""`` is skipped) that all have one float format: ``f32`` or ``f16``.

        Raises:
            NotNative: for tensors of other dtypes.
        """
        dtypes = [self.types[name].dtype for name in names if name]
        if dtypes.count(DType.FLOAT32) == len(dtypes):
            return "f32"
        self.require_dtype(DType.FLOAT16 if DType.FLOAT16 in dtypes else DType.FLOAT32, *names)
        return "f16"

    def state(self) -> tuple[int, dict[str, str], dict[str, list[str]]]:
        """What ``restore`` needs to take back the steps that are appended from now on."""
        return len(self.steps), dict(self.aliases), dict(self.candidates)

    def restore(self, state: tuple[int, dict[str, str], dict[str, list[str]]]) -> None:
        """Take back all steps, aliases and candidates since ``state`` was asked for."""
        count, self.aliases, self.candidates = state
        del self.steps[count:]

    def temporary(self, stem: str, shape: tuple[int, ...], dtype: DType = DType.FLOAT32) -> str:
        """A new tensor in the arena that lives from the first step that names it to the last."""
        name = self._fresh(stem)
        self.types[name] = TensorType(dtype, shape)
        return name

    def packed(self, source: str, packing: str, pack: Callable[[np.ndarray], np.ndarray]) -> str:
        """A constant made from constant ``source`` by ``pack``, once for each ``packing`` (a describing key).

        What an earlier plan of the model has packed is taken from there.
        """
        key = (source, packing)
        if key not in self.packed_names:
            array = self._earlier[key] if key in self._earlier else np.asarray(pack(self.constants[source]))
            self.packed_names[key] = self._add_constant(f"{source}.{packing}", array)
        return self.packed_names[key]

    def packed_later(self, source: str, packing: str, describe: Callable[[np.ndarray], Packing]) -> str:
        """As ``packed``, but made when all steps are known; its contents cannot be asked for."""
        key = (source, packing)
        if key in self._earlier:
            return self.packed(source, packing, np.asarray)
        if key not in self.packed_names:
            name = self._fresh(f"{source}.{packing}")
            self.packed_names[key] = name
            self.packings[name] = how = describe(self.constants[source])
            self.types[name] = TensorType(DType.of(how.source), how.shape)
        return self.packed_names[key]

    def once(self, key: tuple[Hashable, ...], make: Callable[[], Made]) -> Made:
        """What ``make`` gives, made once for each ``key``: a node may be lowered several times, for strips of rows."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def new_constant(self, stem: str, array: np.ndarray) -> str:
        """A new constant tensor."""
        return self._add_constant(stem, np.ascontiguousarray(array))

    def _add_constant(self, stem: str, array: np.ndarray) -> str:
        name = self._fresh(stem)
        self.constants[name] = array
        self.types[name] = TensorType(DType.of(array), tuple(array.shape))
        return name

    def alias(self, output: str, source: str) -> None:
        """Declare that ``output`` is the same bytes as ``source`` (Reshape, Flatten, Identity, …)."""
        self.aliases[output] = source

    def is_part(self, name: str) -> bool:
        """Whether a tensor is a part of another one's memory."""
        while name in self.aliases:
            if name in self.offsets:
                return True
            name = self.aliases[name]
        return False

    def view(self, output: str, source: str, offset: int) -> None:
        """Declare that ``output`` is a part of ``source`` from byte ``offset`` on."""
        self.alias(output, source)
        self.offsets[output] = offset

    def rows_of(self, source: str, image: int, first: int, last: int) -> str:
        """A tensor that is rows ``first`` to before ``last`` of one image of a picture, channels last."""
        known = self.types[source]
        _, height, width, channels = self.shape(source)
        row_bytes = width * channels * known.dtype.itemsize
        name = self._fresh(f"{source}.rows")
        self.types[name] = TensorType(known.dtype, (1, last - first, width, channels))
        self.view(name, source, (image * height + first) * row_bytes)
        return name

    def step(
        self,
        kernel: KernelRow,
        node: Node,
        values: dict[str, int | float | str],
        writes: tuple[str, ...],
        scratch_bytes: int = 0,
        macs: int = 0,
        in_place: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Append a call of a kernel; see KernelStep for the arguments."""
        self.steps.append(KernelStep(kernel, values, writes, node.name, node.op, scratch_bytes, macs, in_place))

    def _fresh(self, stem: str) -> str:
        name, number = stem, 0
        while name in self.types:
            number += 1
            name = f"{stem}.{number}"
        return name


Lowering = Callable[[Node, LoweringContext], None]

_LOWERINGS: dict[tuple[str, str], Lowering] = {}


def lowering(*names: str, domain: str = ONNX) -> Callable[[Lowering], Lowering]:
    """Register the decorated function as the lowering of the named operators."""

    def register(function: Lowering) -> Lowering:
        for name in names:
            if (domain, name) in _LOWERINGS:
                raise ValueError(f"lowering of {(domain, name)} is registered twice")
            _LOWERINGS[(domain, name)] = function
        return function

    return register


def find_lowering(key: tuple[str, str]) -> Lowering | None:
    """The lowering of a (domain, name) key, None if there is none."""
    INDEX.require(key[1])
    return _LOWERINGS.get(key)


def lowerings() -> dict[tuple[str, str], Lowering]:
    """All lowerings by (domain, name) of their operator."""
    INDEX.require_all()
    return dict(_LOWERINGS)
