"""The style-transfer model that ships with edgeinfer."""

from __future__ import annotations

from pathlib import Path

import edgeinfer
from edgeinfer.errors import MediaError

MODEL = Path("models", "multistyle26", "multistyle26.edge")


def shipped_model() -> Path:
    """The file of multistyle26: inside an installed package, or in the checkout around it.

    Raises:
        MediaError: if it is in neither place.
    """
    package = Path(edgeinfer.__file__).parent
    for folder in (package, package.parent):
        if (folder / MODEL).is_file():
            return folder / MODEL
    raise MediaError(f"the shipped model {MODEL} is missing around {package}: name a model with --model")
