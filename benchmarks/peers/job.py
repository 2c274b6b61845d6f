"""What a runtime is asked to do, and the converted models that some of them need."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

# In the folder of a conversion that failed: why.
REFUSAL = "refusal.txt"

Runner = Callable[[], list[np.ndarray]]


class Unsupported(Exception):
    """A runtime that cannot run a model; the text says why."""


@dataclass(frozen=True)
class Job:
    """One model with its inputs.

    Attributes:
        model: the ONNX file.
        feeds: the inputs by name, in the model's order.
        threads: number of threads.
        precision: ``float32``, or ``bfloat16`` or ``float16`` where a runtime may compute with fewer bits.
        conversion: the folder with what the runtime's converter made of the model before; None to convert now.
    """

    model: Path
    feeds: Mapping[str, np.ndarray]
    threads: int
    precision: str = "float32"
    conversion: Path | None = None


def converted(job: Job, package: str, convert: Callable[[Path], None]) -> Path:
    """The folder with what a peer's converter makes of a model, made once and kept among the temporary files.

    Args:
        job: the model and the shapes of its inputs.
        package: the converter's package; another version converts again.
        convert: ``convert(folder)`` fills a folder.

    Raises:
        Unsupported: if the converter fails.
    """
    if job.conversion is not None:
        return job.conversion
    shapes = {name: array.shape for name, array in job.feeds.items()}
    key = hashlib.sha256(job.model.read_bytes() + repr((package, _version(package), shapes)).encode()).hexdigest()
    cache = Path(tempfile.gettempdir()) / f"edgeinfer-benchmarks-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    if cache.stat().st_uid != os.getuid():
        raise PermissionError(f"{cache} belongs to another user: set TMPDIR to a folder of your own")
    folder = cache / f"{package}-{key[:24]}"
    if not folder.exists():
        part = Path(tempfile.mkdtemp(dir=cache))
        try:
            convert(part)
        except Unsupported as error:
            (part / REFUSAL).write_text(str(error))
        except BaseException:
            shutil.rmtree(part)
            raise
        part.rename(folder)
    if (folder / REFUSAL).exists():
        raise Unsupported((folder / REFUSAL).read_text())
    return folder


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return ""


def run_converter(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a converter in a folder.

    Raises:
        Unsupported: if it fails; its output goes to stderr.
    """
    log = folder / "converter.log"
    with log.open("w") as output:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        print(log.read_text(errors="replace"), file=sys.stderr)
        raise Unsupported(f"{Path(command[0]).name} does not convert it")
