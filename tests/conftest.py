"""What many tests need: compiled kernels, and a bundle of the model that ships for this machine, each made once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeinfer.cli import main
from edgeinfer.codegen.targets import target_of_level
from edgeinfer.runtime.cpu import available_levels, cpu_level
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.simd.levels import LEVELS

HOST = target_of_level(cpu_level()).name
MODEL = Path(__file__).resolve().parents[1] / "models" / "multistyle26" / "multistyle26.edge"
SHAPE = "image=1x3x256x256"
MANY_TESTS = 1000


@pytest.fixture(scope="session")
def pack(tmp_path_factory) -> Path:
    """The folder of a pack for this machine."""
    folder = tmp_path_factory.mktemp("packs")
    assert main(["pack", "--target", HOST, "-o", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels(request) -> None:
    """All kernels that tests use, where most tests run: one by one, as tests ask for them, they take longer.

    Those of this machine's level are in the pack that has to be built anyway, unless packs are given.
    """
    if len(request.session.items) < MANY_TESTS:
        return
    if "EDGEINFER_PACKS" not in os.environ:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("EDGEINFER_PACKS", str(request.getfixturevalue("pack")))
            kernels_for(cpu_level())
    for level in available_levels():
        if not LEVELS[level].has_floats_of_base:
            kernels = kernels_for(level)
            kernels.load(kernels.kernel_set.rows)


@pytest.fixture(scope="session")
def style_bundle(tmp_path_factory) -> Path:
    """The folder of multistyle26 for pictures of 256 x 256."""
    folder = tmp_path_factory.mktemp("bundle")
    assert main(["export", str(MODEL), "--target", HOST, "--shape", SHAPE, "-o", str(folder)]) == 0
    return folder
