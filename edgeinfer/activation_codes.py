"""Numbers by which kernels know element-wise operators and fused activations: shared by planner and kernels."""

from __future__ import annotations

import math

# Value of the params' field `activation`; 0 stands for none.
ACTIVATION_CODES = {
    "Relu": 1,
    "Clip": 2,
    "LeakyRelu": 3,
    "HardSigmoid": 4,
    "HardSwish": 5,
    "Sigmoid": 6,
    "Silu": 7,
    "Tanh": 8,
    "Gelu": 9,
    "Elu": 10,
}

# Activations that only bound their argument, with the bounds for those that have no parameters.
CLAMPS = {"Relu": (0.0, math.inf), "Clip": (-math.inf, math.inf)}

# Value of the unary kernel's field `operator`: the activations, then further functions.
UNARY_CODES = {
    **ACTIVATION_CODES,
    "Abs": 32,
    "Neg": 33,
    "Sqrt": 34,
    "Reciprocal": 35,
    "Exp": 36,
    "Log": 37,
    "Floor": 38,
    "Ceil": 39,
    "Round": 40,
    "Erf": 41,
}

# Value of the binary kernel's field `operator`.
BINARY_CODES = {"Add": 1, "Sub": 2, "Mul": 3, "Div": 4, "Max": 5, "Min": 6, "PRelu": 7}

# Value of the reduction kernel's field `operator`.
REDUCTION_CODES = {
    "ReduceSum": 1,
    "ReduceMean": 2,
    "ReduceMax": 3,
    "ReduceMin": 4,
    "ReduceL1": 5,
    "ReduceL2": 6,
    "ReduceSumSquare": 7,
}
