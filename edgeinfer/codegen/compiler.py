"""One compilation path: kernel → LLVM IR by Numba, unoptimised → O3 for the target → object file.

Numba must not optimise for the host, so ``NUMBA_OPT=0`` has to be in the environment before it is
imported; ``edgeinfer.codegen.build`` runs in a process of its own for that reason.
"""

from __future__ import annotations

import functools
import os
import platform
import re
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from numba import cfunc, from_dtype, njit, types

from edgeinfer.abi import TEAM, WORKER
from edgeinfer.codegen.shared_functions import SHARED_PREFIX, name_by_contents, set_apart
from edgeinfer.errors import KernelError
from edgeinfer.kernels.registry import KernelSource
from edgeinfer.simd.foreign_intrinsics import with_intrinsics
from edgeinfer.simd.levels import Level
from edgeinfer.simd.pointers import record_at
from edgeinfer.simd.shared import shared_symbols

# What a kernel may take from the C library.
ALLOWED_SYMBOLS = {"memcpy", "memset", "memmove", "syscall"}

_ARMV7_FUNCTIONS = Path(__file__).parent / "armv7_functions.ll"


def host_triple() -> str:
    """LLVM's name of this machine, without the vendor."""
    return f"{platform.machine()}-unknown-linux-gnu"


@functools.cache
def target_machine(triple: str, level: Level) -> Any:
    """LLVM's emitter of machine code for a CPU level."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple)
    # WebAssembly's position-independent objects are only for modules that are linked while a program runs.
    reloc = "static" if level.architecture == "wasm32" else "pic"
    return target.create_target_machine(
        cpu=level.cpu, features=level.features, opt=3, reloc=reloc, codemodel="default", abiname=level.abi
    )


def _unoptimised_ir(source: KernelSource) -> tuple[str, str]:
    """Numba's LLVM IR of a kernel and the name of its entry in it."""
    if os.environ.get("NUMBA_OPT") != "0":
        raise KernelError("kernels must be compiled with NUMBA_OPT=0 in the environment before numba is imported")
    body = njit(source.body, forceinline=True, error_model="numpy", fastmath={"contract"})

    def entry(params: Any, worker: Any) -> None:
        body(record_at(params), record_at(worker))

    signature = types.void(types.CPointer(from_dtype(source.params)), types.CPointer(from_dtype(WORKER)))
    compiled = cfunc(signature, nopython=True, error_model="numpy")(entry)
    return compiled.inspect_llvm(), compiled._wrapper_name


def _module_for(source: KernelSource, triple: str, level: Level) -> tuple[Any, Any]:
    text, entry = _unoptimised_ir(source)
    machine = target_machine(triple, level)
    text = re.sub(r'target datalayout = ".*"\n', "", text)
    text = re.sub(r'target triple = ".*"', f'target triple = "{triple}"', text)
    text = with_intrinsics(re.sub(r'"target-(cpu|features)"="[^"]*"', "", text))
    text = set_apart(text, shared_symbols())
    if source.params is not TEAM:
        # Nobody writes the params while a kernel runs: they need not be read again after each store.
        known = f"noalias readonly dereferenceable({source.params.itemsize})"
        text = re.sub(r"^(define [^\n]*\bptr )(%arg\.params\b)", rf"\1{known} \2", text, flags=re.MULTILINE)
    module = llvm.parse_assembly(text)
    module.data_layout = str(machine.target_data)
    for function in module.functions:
        if function.is_declaration or function.name.startswith(SHARED_PREFIX):
            continue
        if function.name == entry:
            function.name = source.name
        else:
            function.linkage = "internal"
    for variable in module.global_variables:
        if not variable.is_declaration and variable.linkage == llvm.Linkage.common:
            variable.linkage = "internal"
    return module, machine


def _gains_by_unrolling(source: KernelSource, level: Level) -> bool:
    """Whether unrolled loops are quicker: on x86 in Winograd's transforms alone, as measured on Zen 3."""
    return level.architecture != "x86_64" or source.family.endswith(("winograd4x4", "winograd2x2", "winograd_parts"))


@functools.cache
def _unroll_less() -> None:
    """Leave the outer ones of nested loops as they are, for the rest of this process; it compiles for one level."""
    llvm.set_option("edgeinfer", "-unroll-threshold=200")


def optimised_module(
    source: KernelSource, level: Level, triple: str | None = None, unroll: bool = True
) -> tuple[Any, Any]:
    """The optimised LLVM module of a kernel and the target machine that emits it.

    Args:
        source: the kernel.
        level: the CPU level.
        triple: LLVM's name of the machine, by default this one.
        unroll: whether loops may be unrolled, which can make a kernel three times as long.

    Raises:
        KernelError: if the machine code would need anything but the C library's memory functions.
    """
    module, machine = _module_for(source, triple or host_triple(), level)
    if level.architecture == "x86_64" and level.lanes == 16:
        # Else two loops of Winograd's transforms are unrolled instead of AVX2's one, and packs are a quarter larger.
        _unroll_less()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    options.slp_vectorization = True
    options.loop_unrolling = unroll and _gains_by_unrolling(source, level)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    needed = {f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")}
    foreign = sorted(needed - ALLOWED_SYMBOLS)
    if foreign:
        raise KernelError(
            f"kernel {source.name} needs {', '.join(foreign)}: a kernel must not raise, allocate or call Python"
        )
    return module, machine


def emit_object(module: Any, machine: Any, level: Level) -> bytes:
    """The object file of an optimised module."""
    if level.architecture == "armv7l":
        functions = llvm.parse_assembly(_ARMV7_FUNCTIONS.read_text())
        names = [function.name for function in functions.functions if not function.is_declaration]
        module.link_in(functions)
        for name in names:
            module.get_function(name).linkage = "internal"
        for function in module.functions:
            # Tables for unwinding name a function of the compiler's library.
            if not function.is_declaration:
                function.add_function_attribute("nounwind")
    return bytes(machine.emit_object(module))


def compile_kernel(source: KernelSource, level: Level, triple: str | None = None) -> bytes:
    """The object file of a kernel for a CPU level; its symbol is the kernel's name."""
    module, machine = optimised_module(source, level, triple)
    return emit_object(name_by_contents(module, groups=True), machine, level)


def kernel_bitcode(source: KernelSource, level: Level, triple: str | None = None) -> bytes:
    """The optimised LLVM bitcode of a kernel, for linking several into one object file: short rather than unrolled."""
    module, _ = optimised_module(source, level, triple, unroll=False)
    return bytes(name_by_contents(module, groups=False).as_bitcode())


def kernel_assembly(source: KernelSource, level: Level, triple: str | None = None) -> str:
    """The assembly text of a kernel, for looking at inner loops."""
    module, machine = optimised_module(source, level, triple)
    return str(machine.emit_assembly(module))
