"""Bundles: a planned model with its weights and just the kernels used, for programs in C and what can call C."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgeinfer
from edgeinfer.codegen.bundle_layout import bundle_layout
from edgeinfer.codegen.bundle_module import bundle_object, describe_bundle, entries_text, loaded_bytes
from edgeinfer.codegen.bundle_ports import bundle_ports
from edgeinfer.codegen.bundle_sources import build_file_text, header_text, threads_header_text
from edgeinfer.codegen.linker import find_linker, find_web_linker, link_shared, link_web_module
from edgeinfer.codegen.pack import compile_all, list_kernels, require_compiler
from edgeinfer.codegen.targets import Target
from edgeinfer.errors import DynamicShapeError, InputError, KernelError, PlanError
from edgeinfer.files import replacing
from edgeinfer.graph import Graph
from edgeinfer.plan.kernel_set import KernelRow, KernelSet, check_precision
from edgeinfer.plan.plan import Plan
from edgeinfer.plan.planner import make_plan
from edgeinfer.plan.prepare import prepare
from edgeinfer.sealed_file import write_sealed

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Bundle:
    """The files of a bundle.

    Attributes:
        header: ``NAME.h``.
        object: ``NAME.o``, for linking into a program.
        library: ``NAME.so`` or ``NAME.wasm``, None where the target has none or there is no linker for it.
        weight_bytes: bytes of the packed weights.
        code_bytes: bytes of code and tables that end in a program, beside the weights.
    """

    header: Path
    object: Path
    library: Path | None
    weight_bytes: int
    code_bytes: int


def export_bundle(
    graph: Graph,
    target: Target,
    shapes: Mapping[str, tuple[int, ...]],
    folder: Path,
    name: str,
    threads: int,
    precision: str,
    progress: Progress,
) -> Bundle:
    """Write a model as a bundle.

    Args:
        graph: the model, as ``read_edge`` returns it.
        target: what it is for.
        shapes: shape of every input that has open dimensions.
        folder: where the files go; made if need be.
        name: prefix of all C names, a C identifier.
        threads: number of threads that the work is cut for; it runs with any other number too.
        precision: number format, see ``Session``.
        progress: called with kernels done, all kernels, and a name.

    Raises:
        InputError: if dimensions of inputs are left open, or shapes do not fit.
        PlanError: if a step has no kernel, listing all of these.
        KernelError: if there is no compiler, or the folder cannot be written.
    """
    require_compiler("exporting")
    shapes = _complete_shapes(graph, shapes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KernelError(f"cannot make the folder {folder}: {error.strerror}") from error
    plan = _native_plan(graph, target, shapes, threads, precision)
    ports = bundle_ports(graph, plan)
    layout = bundle_layout(plan)
    level = target.level.name
    names = [*plan.kernel_names(), f"run_tape__{level}", f"worker_loop__{level}"]
    bitcode = compile_all(target, names, progress, "bitcode")
    description = describe_bundle(name, target, plan, *ports, edgeinfer.__version__)
    entries = entries_text(name, target, plan, layout, ports, description)
    code = bundle_object(entries, dict(zip(names, bitcode, strict=True)), target)
    suffix, linked = _link(code, target)
    header = header_text(name, target.name, edgeinfer.__version__, threads, layout, *ports)
    texts = {f"{name}.h": header, "CMakeLists.txt": build_file_text(name), "edgeinfer_threads.h": threads_header_text()}
    try:
        for file, text in texts.items():
            with replacing(folder / file) as part:
                part.write_text(text)
        with replacing(folder / f"{name}.o") as part:
            part.write_bytes(code)
        if suffix == ".so":
            write_sealed(folder / f"{name}.so", linked)
        elif suffix:
            with replacing(folder / f"{name}{suffix}") as part:
                part.write_bytes(linked)
    except OSError as error:
        raise KernelError(f"cannot write to {folder}: {error.strerror}") from error
    weight_bytes = len(plan.weights.data)
    return Bundle(
        folder / f"{name}.h",
        folder / f"{name}.o",
        folder / f"{name}{suffix}" if suffix else None,
        weight_bytes,
        loaded_bytes(code) - weight_bytes,
    )


def _link(code: bytes, target: Target) -> tuple[str, bytes]:
    """The suffix and the contents of the shared library or WebAssembly module, empty where there is none."""
    if target.system == "wasm":
        return (".wasm", link_web_module(code)) if find_web_linker() is not None else ("", b"")
    if target.loads_libraries and find_linker(target) is not None:
        return ".so", link_shared([code], target)
    return "", b""


def _complete_shapes(graph: Graph, given: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """A shape for every input.

    Raises:
        InputError: naming the inputs whose shapes are left open, with their dimensions.
    """
    unknown = [name for name in given if name not in graph.inputs]
    if unknown:
        raise InputError(f"there is no input {unknown}; the inputs are {graph.inputs}")
    shapes: dict[str, Any] = dict(given)
    left_open = []
    for name in graph.inputs:
        declared = graph.types[name]
        if name in shapes:
            continue
        if declared.is_static:
            shapes[name] = declared.shape
        else:
            left_open.append(f"'{name}' is {declared}: give --shape {name}=…")
    if left_open:
        raise InputError("a bundle is made for fixed shapes, but dimensions are left open; " + "; ".join(left_open))
    return {name: tuple(shapes[name]) for name in graph.inputs}


def _native_plan(
    graph: Graph, target: Target, shapes: Mapping[str, tuple[int, ...]], threads: int, precision: str
) -> Plan:
    rows = [KernelRow.from_json(row) for row in list_kernels(target)]
    kernels = KernelSet(target.level.name, target.level.lanes, rows)
    check_precision(precision, kernels)
    try:
        plan = make_plan(prepare(graph), shapes, kernels, threads, precision=precision)
    except DynamicShapeError as error:
        raise PlanError(f"a bundle cannot hold shapes that depend on data: {error}; cut the model there") from error
    host = plan.host_steps()
    if host:
        lines = [f"{step.node}: {step.reason}" for step in host]
        raise PlanError(
            f"{len(host)} step(s) would run on the host by NumPy, which a bundle does not have:\n  "
            + "\n  ".join(lines)
            + "\nwhat is said behind each node would make it native; else cut the model before it"
        )
    return plan
