"""Numbers by which kernels know the fused activations: shared by planner and kernels."""

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
