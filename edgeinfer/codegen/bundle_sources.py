"""The C header and the build file beside a bundle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

from edgeinfer.bundle_abi import BUNDLE_ABI, MAX_THREADS
from edgeinfer.codegen.bundle_layout import BundleLayout
from edgeinfer.codegen.bundle_module import dtype_code, status_values
from edgeinfer.codegen.bundle_ports import BundlePort
from edgeinfer.graph import DType

_FILES = Path(__file__).parent / "bundle_files"


def c_identifier(text: str) -> str:
    """A text as a C identifier: what is no letter or digit becomes an underscore."""
    name = re.sub(r"[^0-9A-Za-z]+", "_", text).strip("_")
    return name if name and not name[0].isdigit() else f"model_{name}"


def header_text(
    name: str,
    target: str,
    version: str,
    planned_threads: int,
    layout: BundleLayout,
    inputs: Sequence[BundlePort],
    outputs: Sequence[BundlePort],
) -> str:
    """The C header of a bundle."""
    guard = name.upper()
    ports = [
        *_port_macros(f"{guard}_INPUT", f"{guard}_INPUTS", inputs),
        *_port_macros(f"{guard}_OUTPUT", f"{guard}_OUTPUTS", outputs),
    ]
    template = Template((_FILES / "model.h.in").read_text())
    return template.substitute(
        status_values(),
        name=name,
        guard=guard,
        target=target,
        version=version,
        bundle_abi=BUNDLE_ABI,
        planned_threads=planned_threads,
        max_threads=MAX_THREADS,
        fixed_bytes=layout.fixed_bytes,
        thread_bytes=layout.thread_bytes,
        dtypes=",\n".join(f"    EDGEINFER_{dtype.name} = {dtype_code(dtype)}" for dtype in DType),
        ports="\n".join(ports),
        input_arguments=", ".join(c_identifier(port.name).lower() for port in inputs),
        output_arguments=", ".join(c_identifier(port.name).lower() for port in outputs),
    )


def _port_macros(prefix: str, count: str, ports: Sequence[BundlePort]) -> list[str]:
    """Comments and constants for ports; those of port 0 are such as ``MODEL_INPUT_0_BYTES``."""
    lines = [f"#define {count} {len(ports)}"]
    for index, port in enumerate(ports):
        shape = "x".join(map(str, port.shape)) or "scalar"
        scale = f", scale {port.scale!r}, zero point {port.zero_point}" if port.scale else ""
        comment = f"{port.name}: {port.dtype.value} {shape}{scale}".replace("*/", "* /")
        lines.append(f"/* {comment} */")
        lines.append(f"#define {prefix}_{index}_BYTES {port.nbytes}")
        if port.shape:
            dims = ", ".join(map(str, port.shape))
            lines.append(f"#define {prefix}_{index}_SHAPE {{{dims}}}")
    return [*lines, ""]


def build_file_text(name: str) -> str:
    """The CMakeLists.txt of a bundle."""
    return Template((_FILES / "CMakeLists.txt.in").read_text()).substitute(name=name)


def threads_header_text() -> str:
    """The helper that runs workers in POSIX threads."""
    return (_FILES / "edgeinfer_threads.h").read_text()
