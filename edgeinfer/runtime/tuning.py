"""Choices of kernels that ``edgeinfer tune`` measured on this machine, kept in the user's cache.

A file holds, for one model, its input shapes, number of threads, CPU level and precision, the kernel for each node
where another one than the planner's was quicker: ``{"choices": {node: kernel}}``. Nothing depends on such files.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.files import TUNED, cache_root, replacing
from edgeinfer.graph import Graph


def tuning_folder() -> Path:
    """Where the choices lie."""
    return cache_root() / TUNED


def model_fingerprint(graph: Graph) -> str:
    """A digest of a prepared graph's operators and sizes; values of weights do not matter for speed."""
    digest = hashlib.blake2b(digest_size=16)
    for node in graph.nodes:
        attributes = sorted((key, repr(value)) for key, value in node.attributes.items())
        digest.update(repr((node.domain, node.op, node.name, node.inputs, node.outputs, attributes)).encode())
    for name, array in sorted(graph.constants.items()):
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
    return digest.hexdigest()


def tuning_file(
    fingerprint: str, shapes: Mapping[str, tuple[int, ...]], level: str, threads: int, precision: str
) -> Path:
    """The file for one model and way to run it."""
    way = repr((fingerprint, sorted((name, tuple(shape)) for name, shape in shapes.items()), level, threads, precision))
    return tuning_folder() / f"{hashlib.blake2b(way.encode(), digest_size=16).hexdigest()}.json"


def read_choices(path: Path) -> dict[str, str]:
    """The choices in a file; none if it is missing, and none with a warning if it is damaged."""
    try:
        choices = json.loads(path.read_text())["choices"]
        if not isinstance(choices, dict) or not all(isinstance(text, str) for text in choices.values()):
            raise ValueError("not a table of names")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(f"{path} is no table of tuned kernels ({error}): delete it or tune again", stacklevel=2)
        return {}
    return choices


def write_choices(path: Path, choices: Mapping[str, str]) -> None:
    """Store choices.

    Raises:
        OSError: if the cache cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(json.dumps({"choices": dict(sorted(choices.items()))}, indent=1))
