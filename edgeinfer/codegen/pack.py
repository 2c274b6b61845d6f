"""Kernel packs: all kernels of one target in one shared library, with a manifest beside it.

Kernels are compiled by processes of their own (edgeinfer.codegen.pack_worker). A device that has the pack needs
neither Numba nor a compiler.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import edgeinfer
from edgeinfer.abi import ABI_VERSION
from edgeinfer.codegen.compiler_process import start_compiler
from edgeinfer.codegen.linker import find_linker, link_shared
from edgeinfer.codegen.object_code import code_digest
from edgeinfer.codegen.targets import Target
from edgeinfer.errors import KernelError
from edgeinfer.files import replacing

Progress = Callable[[int, int, str], None]

_WORKER = "edgeinfer.codegen.pack_worker"


@dataclass(frozen=True)
class Pack:
    """A pack as it was built.

    Attributes:
        target: what it is for.
        library: the shared library.
        manifest: the manifest.
        bases: what the manifest says of the packs that this one leans on, nearest first.
        digests: of the code of every kernel, by its name without the level; see ``code_digest``.
    """

    target: Target
    library: Path
    manifest: Path
    bases: Sequence[Mapping[str, str]] = ()
    digests: Mapping[str, str] = field(default_factory=dict, repr=False)


def require_compiler(purpose: str) -> None:
    """Check that kernels can be compiled here.

    Raises:
        KernelError: saying what to install for the purpose, such as ``exporting``.
    """
    if any(importlib.util.find_spec(name) is None for name in ("numba", "llvmlite")):
        raise KernelError(f"{purpose} needs the compiler: pip install 'edgeinfer[jit]'")


def build_pack(target: Target, folder: Path, progress: Progress, base: Pack | None = None) -> Pack:
    """Compile and link all kernels of a target.

    Args:
        target: the target.
        folder: where library and manifest go; made if need be.
        progress: called with kernels done, all kernels, and a name.
        base: a pack in the same folder for a level below; kernels whose machine code is the same are taken from there.

    Raises:
        KernelError: if the target has no packs, there is no linker or no compiler, or the folder cannot be written.
    """
    if not target.loads_libraries:
        raise KernelError(f"{target.name} has no packs, only models compiled by 'edgeinfer export'")
    if find_linker(target) is None:
        link_shared([], target)
    require_compiler("building a pack")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KernelError(f"cannot make the folder {folder}: {error.strerror}") from error
    rows = list_kernels(target)
    names = [str(row["name"]) for row in rows]
    objects = dict(zip(names, compile_all(target, names, progress), strict=True))
    digests = {name.removesuffix(target.level.name): _digest(code, target) for name, code in objects.items()}
    known = base.digests if base else {}
    own = [
        objects[name] for name, (stem, digest) in zip(names, digests.items(), strict=True) if known.get(stem) != digest
    ]
    library = link_shared(own, target)
    bases = [*([_as_base(base)] if base else []), *(base.bases if base else [])]
    manifest = {
        "version": edgeinfer.__version__,
        "abi": ABI_VERSION,
        "target": target.name,
        "level": target.level.name,
        "lanes": target.level.lanes,
        "sha256": hashlib.sha256(library).hexdigest(),
        "bases": bases,
        "kernels": rows,
    }
    pack = Pack(
        target, folder / f"edgeinfer-{target.name}.so", folder / f"edgeinfer-{target.name}.json", bases, digests
    )
    try:
        with replacing(pack.library) as part:
            part.write_bytes(library)
        with replacing(pack.manifest) as part:
            part.write_text(json.dumps(manifest, sort_keys=True, separators=(",", ":")) + "\n")
    except OSError as error:
        raise KernelError(f"cannot write to {folder}: {error.strerror}") from error
    return pack


def _digest(code: bytes, target: Target) -> str:
    return code_digest(code, target.level.name) if target.level.pointer_bits == 64 else ""


def _as_base(pack: Pack) -> dict[str, str]:
    """What the manifest of a pack says of another that it leans on."""
    sha256 = hashlib.sha256(pack.library.read_bytes()).hexdigest()
    return {"level": pack.target.level.name, "library": pack.library.name, "sha256": sha256}


def list_kernels(target: Target) -> list[dict[str, object]]:
    """The manifest's rows of all kernels of a target."""
    output, errors = (process := start_compiler(_WORKER, "list", target.name)).communicate()
    if process.returncode:
        raise KernelError(f"listing the kernels failed:\n{errors.strip()}")
    rows: list[dict[str, object]] = json.loads(output)
    return rows


def compile_all(target: Target, names: Sequence[object], progress: Progress, form: str = "compile") -> list[bytes]:
    """Kernels in the order given, compiled by as many processes as there are cores.

    Args:
        target: the target.
        names: names of kernels.
        progress: called with kernels done, all kernels, and a name.
        form: ``compile`` for object files, ``bitcode`` for optimised LLVM bitcode.
    """
    workers = max(1, min(len(names), len(os.sched_getaffinity(0))))
    done: list[str] = []

    def compile_share(share: Sequence[object]) -> dict[str, bytes]:
        process = start_compiler(_WORKER, form, target.name, *map(str, share))
        objects: dict[str, bytes] = {}
        for line in process.stdout or ():
            name, code = line.split()
            objects[name] = bytes.fromhex(code)
            done.append(name)
            progress(len(done), len(names), name)
        _, errors = process.communicate()
        if process.returncode:
            raise KernelError(f"compiling kernels for {target.name} failed:\n{errors.strip()}")
        return objects

    with ThreadPoolExecutor(workers) as pool:
        shares = list(pool.map(compile_share, [names[index::workers] for index in range(workers)]))
    objects = {name: code for share in shares for name, code in share.items()}
    return [objects[str(name)] for name in names]
