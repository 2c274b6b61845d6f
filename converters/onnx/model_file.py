"""Reading ``.onnx`` files: what is no ONNX model, or too old or too new, is told from what can be imported."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import defs

from edgeinfer.errors import ConversionError

OLDEST_OPSET = 6
DEFAULT_DOMAINS = ("", "ai.onnx")


def read_model(path: Path) -> onnx.ModelProto:
    """Parse a file; external data stays where it is.

    Raises:
        ConversionError: if the file cannot be read or holds no ONNX model.
    """
    if not path.exists():
        raise ConversionError(f"{path}: there is no such file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConversionError(f"{path} cannot be read: {error}") from error
    try:
        return onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ConversionError(f"{path} is not an ONNX file, or a damaged one: {error}") from error


def check_model(model: onnx.ModelProto, where: str) -> None:
    """Check that a parsed message is a model with a graph and outputs.

    Raises:
        ConversionError: if it is not; ``where`` names the place.
    """
    if not model.HasField("graph") or not model.graph.output:
        raise ConversionError(f"{where} holds no ONNX graph with outputs; is it an ONNX model?")


def model_opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a model uses.

    Raises:
        ConversionError: if the model names none, or one that is too old or too new.
    """
    versions = [entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS]
    if not versions:
        raise ConversionError("the model does not say which opset of ONNX it uses; export it again with a newer tool")
    opset = int(max(versions))
    if opset < OLDEST_OPSET:
        raise ConversionError(
            f"the model uses opset {opset}; edgeinfer reads {OLDEST_OPSET} and newer: upgrade the model with "
            "onnx.version_converter, or export it again"
        )
    newest = defs.onnx_opset_version()
    if opset > newest:
        raise ConversionError(
            f"the model uses opset {opset}; the installed onnx {onnx.__version__} knows up to {newest}: "
            "install a newer onnx, or export the model with an older opset"
        )
    return opset
