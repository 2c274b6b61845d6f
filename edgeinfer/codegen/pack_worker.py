"""The process that compiles kernels ahead of time: ``list TARGET``, ``compile TARGET KERNEL …`` or ``bitcode …``.

``list`` prints the manifest's rows as JSON; ``compile`` prints a line for each kernel: its name and its object file in
hexadecimal digits; ``bitcode`` the same with optimised LLVM bitcode. It runs apart because Numba has to be imported
with its optimiser switched off.
"""

from __future__ import annotations

import json
import sys

from edgeinfer.codegen.compiler import compile_kernel, kernel_bitcode
from edgeinfer.codegen.targets import find_target
from edgeinfer.kernels.registry import kernel_sources
from edgeinfer.plan.kernel_set import KernelRow


def main(arguments: list[str]) -> int:
    """Entry of the process; see the module's text."""
    verb, target, names = arguments[0], find_target(arguments[1]), arguments[2:]
    sources = kernel_sources(target.level)
    if verb == "list":
        rows = [KernelRow(s.name, s.family, s.params, s.traits).to_json() for s in sources.values()]
        print(json.dumps(rows))
        return 0
    compiled = {"compile": compile_kernel, "bitcode": kernel_bitcode}[verb]
    for name in names:
        print(name, compiled(sources[name], target.level, target.triple).hex(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
