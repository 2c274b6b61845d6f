"""The style-transfer models that come with edgeinfer."""

from __future__ import annotations

from pathlib import Path

import edgeinfer
from edgeinfer.errors import MediaError

MULTISTYLE = Path("multistyle26", "multistyle26.edge")
PREDICT = Path("arbitrary_style", "predict.edge")
TRANSFORM = Path("arbitrary_style", "transform.edge")


def shipped_model(model: Path = MULTISTYLE) -> Path:
    """The file of a model: inside an installed package, or in the checkout around it.

    Raises:
        MediaError: if it is in neither place.
    """
    package = Path(edgeinfer.__file__).parent
    for folder in (package, package.parent):
        if (folder / "models" / model).is_file():
            return folder / "models" / model
    raise MediaError(f"the model models/{model} is missing around {package}: name one with --model")


def painting_models(folder: Path | None) -> tuple[Path, Path]:
    """The two networks that take any painting as the style: the one that restyles, the one that describes paintings.

    Args:
        folder: holds ``transform.edge`` and ``predict.edge``; None takes those of the checkout. Wheels leave them out
            for their size.

    Raises:
        MediaError: if they are missing.
    """
    if folder is None:
        try:
            return shipped_model(TRANSFORM), shipped_model(PREDICT)
        except MediaError as error:
            raise MediaError(
                "paintings as styles need models/arbitrary_style from edgeinfer's repository, which wheels leave out: "
                "copy that folder, or make it by models/make_arbitrary_style.py, and name it with --model FOLDER"
            ) from error
    for model in (TRANSFORM, PREDICT):
        if not (folder / model.name).is_file():
            raise MediaError(
                f"there is no {folder / model.name}: with a painting as the style, --model names a folder that holds "
                f"{TRANSFORM.name} and {PREDICT.name}"
            )
    return folder / TRANSFORM.name, folder / PREDICT.name
