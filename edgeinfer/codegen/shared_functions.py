"""Functions that several kernels have in common: each object file holds them, and linkers keep one of each.

They are named by their contents, since Numba's names tell how many functions were compiled before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from typing import Any

import llvmlite.binding as llvm

from edgeinfer.errors import KernelError

SHARED_PREFIX = "edgeinfer.shared."


def set_apart(text: str, symbols: Collection[str]) -> str:
    """Keep functions from being inlined, or changed for their callers in the same module.

    Args:
        text: LLVM's IR of the module, not optimised yet.
        symbols: names of the functions; those that it does not define do not matter.
    """
    for index, name in enumerate(sorted(symbols)):
        # Numba's functions return a status, which is 0 where nothing raises.
        head = rf"^define (?:\w+ )*i32 @{name}(\([^\n]*\))([^\n]*\{{)$"
        new = rf"define linkonce_odr hidden range(i32 0, 1) i32 @{SHARED_PREFIX}{index}\1 noinline\2"
        text, found = re.subn(head, new, text, flags=re.MULTILINE)
        if found:
            text = text.replace(f"@{name}(", f"@{SHARED_PREFIX}{index}(")
    return text


def name_by_contents(module: Any, groups: bool) -> Any:
    """An optimised module with the functions that were set apart named by what they do.

    Args:
        module: the module; not to be used any more.
        groups: whether linkers are told by groups of sections (ELF's COMDAT) to keep one function of a name.

    Raises:
        KernelError: if one of them may raise.
    """
    names = [f.name for f in module.functions if f.name.startswith(SHARED_PREFIX) and not f.is_declaration]
    if not names:
        return module
    text = str(module)
    for name in names:
        found = re.search(rf"^define [^\n]*@{re.escape(name)}\([^\n]*\{{\n.*?^\}}\n", text, re.MULTILINE | re.DOTALL)
        assert found is not None
        if set(re.findall(r"^  ret ([^\n]*)$", found[0], re.MULTILINE)) != {"i32 0"}:
            raise KernelError("a function that kernels share must not raise")
        # What optimisers were told of a caller's memory holds for that caller alone.
        own = re.sub(r", ![a-z._]+ ![0-9]+", "", found[0])
        numbered = re.sub(r"#[0-9]+", "#", own.replace(name, ""))
        if set(re.findall(r"@(?!llvm\.|mem)[\w.\"$-]+", numbered)):
            # Constants in memory would have to be shared too.
            own = own.replace("linkonce_odr hidden", "internal")
            text = text.replace(found[0], own)
            continue
        new = f"edgeinfer_{hashlib.sha256(numbered.encode()).hexdigest()[:16]}"
        head, body = own.split("\n", 1)
        if groups:
            head = head.replace(" {", " comdat {")
        text = text.replace(found[0], f"{head}\n{body}").replace(f"@{name}(", f"@{new}(")
        if groups:
            text = text.replace("\ndefine ", f"\n${new} = comdat any\n\ndefine ", 1)
    return llvm.parse_assembly(text)


def make_local(module: Any) -> None:
    """Hide shared functions of a module that is linked as a whole."""
    for function in module.functions:
        if function.linkage == llvm.Linkage.linkonce_odr and not function.is_declaration:
            function.linkage = "internal"
