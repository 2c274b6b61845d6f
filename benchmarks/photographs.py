"""Photographs for calibration and for judging quality: scikit-image's, and those of Debian's ``mate-backgrounds``."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

_OF_SCIKIT_IMAGE = ("astronaut", "cat", "coffee", "rocket")
_PACKAGE = "mate-backgrounds"
_OF_PACKAGE = ("nature/*.jpg", "abstract/Elephants.jpg")
# Longer sides than this bring nothing: crops are 224 wide.
_LONGEST = 1280


def photograph_folder() -> Path:
    """The folder with all colour photographs of everyday scenes of both as PNG, made the first time.

    It is kept in ``EDGEINFER_MODELS``, by default ~/.cache/edgeinfer/models. Without apt-get only scikit-image's.
    """
    default = Path(os.path.expanduser("~")) / ".cache" / "edgeinfer" / "models"
    folder = Path(os.environ.get("EDGEINFER_MODELS") or default) / "photographs"
    if (folder / "complete").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in _OF_SCIKIT_IMAGE:
        _save(Image.fromarray(getattr(skimage.data, name)()[..., :3]), folder / f"{name}.png")
    _save(Image.fromarray(np.asarray(skimage.data.stereo_motorcycle()[0])), folder / "motorcycle.png")
    with tempfile.TemporaryDirectory() as download:
        try:
            subprocess.run(
                ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", _PACKAGE], cwd=download, check=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{_PACKAGE} cannot be had ({error}): scikit-image's photographs alone")
            return folder
        (package,) = Path(download).glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", package, download], check=True)
        pictures = Path(download) / "usr" / "share" / "backgrounds" / "mate"
        for pattern in _OF_PACKAGE:
            for path in sorted(pictures.glob(pattern)):
                _save(Image.open(path).convert("RGB"), folder / f"{path.stem}.png")
    (folder / "complete").touch()
    return folder


def _save(image: Image.Image, path: Path) -> None:
    image.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
    image.save(path)


def photographs() -> dict[str, np.ndarray]:
    """All of them by name, uint8 [height, width, 3]."""
    return {path.stem: np.asarray(Image.open(path)) for path in sorted(photograph_folder().glob("*.png"))}
