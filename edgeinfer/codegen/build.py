"""The process that compiles kernels: ``python -m edgeinfer.codegen.build LEVEL FOLDER [KERNEL …]``.

Without kernels it writes the level's manifest. With kernels it writes one shared library each (one
object file each where there is no linker), and prints each name when it is done. It runs apart from
the program that needs the kernels, so that this one never pays for Numba's memory and start-up.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgeinfer.abi import ABI_VERSION
from edgeinfer.codegen.cache import manifest_path, module_hash
from edgeinfer.codegen.compiler import compile_kernel
from edgeinfer.codegen.linker import find_linker, link_shared
from edgeinfer.codegen.targets import target_of_level
from edgeinfer.files import replacing
from edgeinfer.kernels.registry import KernelSource, kernel_sources
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.sealed_file import write_sealed
from edgeinfer.simd.levels import LEVELS, Level


def write_manifest(level: Level, folder: Path) -> None:
    """Write the rows of all kernels of a level as JSON."""
    rows = [
        {
            **KernelRow(source.name, source.family, source.params, source.traits).to_json(),
            "file": f"{source.name}-{module_hash(source.module)}",
        }
        for source in kernel_sources(level).values()
    ]
    manifest = {"abi": ABI_VERSION, "level": level.name, "lanes": level.lanes, "kernels": rows}
    with replacing(manifest_path(folder)) as part:
        part.write_text(json.dumps(manifest))


def build_kernel(source: KernelSource, level: Level, folder: Path) -> Path:
    """Compile one kernel into ``folder``; returns the library's (or, without a linker, the object's) path."""
    name = f"{source.name}-{module_hash(source.module)}"
    code = compile_kernel(source, level)
    target = target_of_level(level.name)
    if find_linker(target) is None:
        path = folder / f"{name}.o"
    else:
        path, code = folder / f"{name}.so", link_shared([code], target)
    write_sealed(path, code)
    return path


def main(arguments: list[str]) -> int:
    """Entry of the process; see the module's text."""
    level, folder, names = LEVELS[arguments[0]], Path(arguments[1]), arguments[2:]
    if not names:
        write_manifest(level, folder)
        return 0
    sources = kernel_sources(level)
    for name in names:
        build_kernel(sources[name], level, folder)
        print(name, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
