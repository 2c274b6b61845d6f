"""Kernels run in memory full of NaN: what they read before anything is written there shows in their results."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edgeinfer.plan.memory import aligned_block
from edgeinfer.runtime import executor


def poisoned_block(size: int) -> np.ndarray:
    """A block whose bytes are those of NaN in every float format."""
    block = aligned_block(size)
    block[:] = 255
    return block


@pytest.fixture(autouse=True)
def poisoned_arenas(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(executor, "aligned_block", poisoned_block)
    yield
