"""A bundle of the model that ships, for this machine, made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.cli import main
from edgeinfer.codegen.targets import target_of_level
from edgeinfer.runtime.cpu import cpu_level

MODEL = Path(__file__).resolve().parents[1] / "models" / "multistyle26" / "multistyle26.edge"
SHAPE = "image=1x3x256x256"


@pytest.fixture(scope="session")
def style_bundle(tmp_path_factory) -> Path:
    """The folder of multistyle26 for pictures of 256 x 256."""
    folder = tmp_path_factory.mktemp("bundle")
    target = target_of_level(cpu_level()).name
    assert main(["export", str(MODEL), "--target", target, "--shape", SHAPE, "-o", str(folder)]) == 0
    return folder
