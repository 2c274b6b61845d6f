"""Loading object files through LLVM's own linker, where the machine has no linker."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm


@functools.cache
def _engine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def load_object(path: Path, symbol: str) -> int:
    """The address of a symbol of an object file, loaded into this process for good."""
    engine = _engine()
    engine.add_object_file(str(path))
    engine.finalize_object()
    return int(engine.get_function_address(symbol))
