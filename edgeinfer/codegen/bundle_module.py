"""From a plan and compiled kernels to one object file: tables, weights, and the C functions of a bundle.

Everything but the C functions is local to the object, so that several models link into one program.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import llvmlite.binding as llvm

from edgeinfer.abi import FIRST_BINDING, TEAM, WORKER
from edgeinfer.bundle_abi import BUNDLE_ABI, INFO_MARK, MAX_THREADS, BundleStatus
from edgeinfer.codegen.bundle_cpu import cpu_check
from edgeinfer.codegen.bundle_layout import BundleLayout
from edgeinfer.codegen.bundle_ports import MAX_RANK, BundlePort
from edgeinfer.codegen.compiler import emit_object, target_machine
from edgeinfer.codegen.shared_functions import make_local
from edgeinfer.codegen.targets import Target
from edgeinfer.graph import DType
from edgeinfer.plan.plan import Plan

_FILES = Path(__file__).parent / "bundle_files"

# Rounds that a waiting worker spins before it sleeps, as in the runtime's teams.
_SPINS = 4000
_FUTEX_CALL = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "armv7l": 240}
_MADVISE_CALL = {"x86_64": 28, "aarch64": 233, "riscv64": 233, "armv7l": 220}
_MADV_HUGEPAGE = 14
# The CPU that the C functions are compiled for: they must run, and refuse, on any of its architecture.
_BASE_CPU = {"x86_64": "x86-64", "aarch64": "generic"}
_TENSOR_TYPE = f"{{ ptr, i32, i32, [{MAX_RANK} x i64], i64, double, i64 }}"
# WebAssembly has no system to call; with one thread, and it has no more, nothing ever waits.
_NO_SYSCALL = "define i32 @syscall(i32, i32, i32, i32, i32, i32, i32) {\n  ret i32 -38\n}"
_PLAIN = bytes(range(32, 127)).replace(b'"', b"").replace(b"\\", b"")


def _text(data: bytes) -> str:
    """Bytes as the inside of an LLVM string."""
    return "".join(map(_ESCAPED.__getitem__, data))


_ESCAPED = [chr(byte) if byte in _PLAIN else f"\\{byte:02X}" for byte in range(256)]


def _tensor_tables(name: str, kind: str, ports: Sequence[BundlePort]) -> str:
    lines, rows = [], []
    for index, port in enumerate(ports):
        label = port.name.encode() + b"\0"
        symbol = f'@"{name}.{kind}.{index}"'
        lines.append(f'{symbol} = internal constant [{len(label)} x i8] c"{_text(label)}"')
        dims = ", ".join(f"i64 {dim}" for dim in (*port.shape, *[0] * (MAX_RANK - len(port.shape))))
        scale = f"0x{struct.pack('>d', port.scale).hex().upper()}"
        rows.append(
            f"{_TENSOR_TYPE} {{ ptr {symbol}, i32 {dtype_code(port.dtype)}, i32 {len(port.shape)}, "
            f"[{MAX_RANK} x i64] [{dims}], i64 {port.nbytes}, double {scale}, i64 {port.zero_point} }}"
        )
    lines.append(f'@"{name}.{kind}s" = internal constant [{len(rows)} x {_TENSOR_TYPE}] [{", ".join(rows)}], align 8')
    return "\n".join(lines)


def dtype_code(dtype: DType) -> int:
    """The number that stands for a type of elements in C."""
    return list(DType).index(dtype) + 1


def status_values() -> dict[str, int]:
    """The numbers of errors for templates, such as ``null_error``."""
    return {f"{status.name.lower()}_error": status.value for status in BundleStatus if status}


def describe_bundle(
    name: str, target: Target, plan: Plan, inputs: Sequence[BundlePort], outputs: Sequence[BundlePort], version: str
) -> dict[str, Any]:
    """What a bundle says of itself, as plain JSON values."""
    return {
        "name": name,
        "version": version,
        "abi": BUNDLE_ABI,
        "target": target.name,
        "architecture": target.level.architecture,
        "level": target.level.name,
        "threads": plan.threads,
        "weight_bytes": len(plan.weights.data),
        "inputs": [port.to_json() for port in inputs],
        "outputs": [port.to_json() for port in outputs],
    }


def _large_pages(target: Target) -> str:
    """The function ``ask_for_large_pages`` as LLVM text; it does nothing where the system is not Linux."""
    size = f"i{target.level.pointer_bits}"
    if target.system in ("macos", "wasm"):
        return f"define internal void @ask_for_large_pages(ptr %block, {size} %bytes) #0 {{\n  ret void\n}}"
    text = (_FILES / "large_pages.ll").read_text()
    call = _MADVISE_CALL[target.level.architecture]
    return Template(text).substitute(size=size, madvise=call, huge_page=_MADV_HUGEPAGE)


def entries_text(
    name: str,
    target: Target,
    plan: Plan,
    layout: BundleLayout,
    ports: tuple[Sequence[BundlePort], Sequence[BundlePort]],
    description: Mapping[str, Any],
) -> str:
    """The LLVM text of a bundle's tables and C functions."""
    level = target.level
    narrow = level.pointer_bits == 32
    params, offsets = plan.params_block()
    weights = plan.weights.data.tobytes()
    info = INFO_MARK + json.dumps(description, sort_keys=True, separators=(",", ":")).encode() + b"\0"
    kernels = [step.call.kernel.name for step in plan.table()]
    run_tape, worker_loop = (f"{family}__{level.name}" for family in ("run_tape", "worker_loop"))
    # A row is two addresses as i64, on CPUs with 32-bit addresses with zeros above (little endian).
    row_type = "<{ ptr, i32, ptr, i32 }>" if narrow else "<{ ptr, ptr }>"
    gap = ", i32 0" if narrow else ""
    steps = ",\n  ".join(
        f'{row_type} <{{ ptr @{kernel}{gap}, ptr getelementptr (i8, ptr @"{name}.params", i64 {offset}){gap} }}>'
        for kernel, offset in zip(kernels, offsets, strict=True)
    )
    declarations = [f"declare ptr @{kernel}(ptr, ptr)" for kernel in dict.fromkeys([*kernels, run_tape, worker_loop])]
    magic = hashlib.sha256(info + weights + params.tobytes() + steps.encode()).digest()[:7]
    base_cpu = _BASE_CPU.get(level.architecture)
    inputs, outputs = ports
    values: dict[str, object] = {
        "name": name,
        "triple": target.triple,
        "weights": _text(weights),
        "weight_bytes": len(weights),
        "params": _text(params.tobytes()),
        "params_bytes": len(params),
        "steps": steps,
        "row_count": len(kernels),
        "step_count": sum(1 for _ in plan.native_steps()),
        "row_type": row_type,
        "info": _text(info),
        "info_bytes": len(info),
        "tensors": f"{_tensor_tables(name, 'input', inputs)}\n{_tensor_tables(name, 'output', outputs)}",
        "tensor_type": _TENSOR_TYPE,
        "declarations": "\n".join(declarations + [_NO_SYSCALL] * (level.architecture == "wasm32")),
        "cpu_check": cpu_check(target),
        "large_pages": _large_pages(target),
        "base_cpu": f'"target-cpu"="{base_cpu}" "target-features"=""' if base_cpu else "",
        "bundle_abi": BUNDLE_ABI,
        "input_count": len(inputs),
        "output_count": len(outputs),
        "size": f"i{level.pointer_bits}",
        "size_result": "%size = trunc i64 %chosen to i32\n  ret i32 %size" if narrow else "ret i64 %chosen",
        "magic": int.from_bytes(magic, "little") | 1,
        "max_threads": MAX_THREADS,
        "fixed_bytes": layout.fixed_bytes,
        "thread_bytes": layout.thread_bytes,
        "team": layout.team,
        "bases": layout.bases,
        "input_bases": layout.bases + 8 * FIRST_BINDING,
        "output_bases": layout.bases + 8 * (FIRST_BINDING + len(inputs)),
        "arena": layout.arena,
        "workers": layout.workers,
        "worker_bytes": WORKER.itemsize,
        "scratch_bytes": layout.scratch_bytes,
        "futex_call": _FUTEX_CALL.get(level.architecture, 0),
        "spins": _SPINS,
        "run_tape": run_tape,
        "worker_loop": worker_loop,
        **status_values(),
    }
    for record, prefix in ((TEAM, "team"), (WORKER, "worker")):
        assert record.fields is not None
        values |= {f"{prefix}_{field}": place[1] for field, place in record.fields.items()}
    return Template((_FILES / "entries.ll").read_text()).substitute(values)


def bundle_object(entries: str, kernels: Mapping[str, bytes], target: Target) -> bytes:
    """One object file of a bundle's text and its kernels.

    Args:
        entries: what ``entries_text`` returned.
        kernels: optimised LLVM bitcode of every kernel that it names.
        target: the target.
    """
    machine = target_machine(target.triple, target.level)
    module = llvm.parse_assembly(entries)
    module.data_layout = str(machine.target_data)
    for name, bitcode in kernels.items():
        module.link_in(llvm.parse_bitcode(bitcode))
        module.get_function(name).linkage = "internal"
    make_local(module)
    if target.level.architecture == "wasm32":
        module.get_function("syscall").linkage = "internal"
    module.verify()
    return emit_object(module, machine, target.level)


def loaded_bytes(code: bytes) -> int:
    """Bytes of an object file that end in a program: code and data, not symbols and relocations."""
    loaded = (b".text", b".rodata", b".data", b".eh_frame", b"__text", b"__const", b"__data", b"CODE", b"DATA")
    sections = llvm.ObjectFileRef.from_data(code).sections()
    return sum(section.size() for section in sections if (section.name() or b"").startswith(loaded))
