"""Bundles for this machine, made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.cli import main
from edgeinfer.codegen.targets import target_of_level
from edgeinfer.runtime.cpu import cpu_level

MODEL = Path(__file__).resolve().parents[2] / "models" / "multistyle26" / "multistyle26.edge"


@pytest.fixture(scope="session")
def style_bundle(tmp_path_factory) -> Path:
    """The folder of multistyle26 for pictures of 64 x 48, named ``style``."""
    folder = tmp_path_factory.mktemp("bundle")
    target = target_of_level(cpu_level()).name
    shape = "image=1x3x48x64"
    arguments = ["export", str(MODEL), "--target", target, "--shape", shape, "--name", "style", "-o", str(folder)]
    assert main(arguments) == 0
    return folder
