"""Instructions of AVX-512, VNNI and AMX in terms of what any x86-64 processor has.

LLVM splits vectors of 512 bits where a processor has none, but gives up on intrinsics of instructions that it lacks.
With definitions in their place (those of AMX stand in ``amx.ll``), and AVX2 for the level's instruction set, kernels of
the levels above AVX2 run on AVX2: slowly, and with the same tiles, borders, packing and arithmetic.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from edgeinfer.simd.levels import LEVELS, Level

STOOD_IN_FOR = ("amx", "bf16", "vnni", "avx512", "avxvnni")
_BASE = LEVELS["avx2"]
_DECLARED = re.compile(r"^declare [^@\n]+ @llvm\.(x86\.avx512[\w.]*)\([^\n]*\n", re.MULTILINE)
_AMX = r"@llvm\.(x86\.(?:tile|tdp|ldtilecfg)\w*)"
_AMX_DECLARED = re.compile(rf"^declare [^@\n]+ {_AMX}\([^\n]*\n", re.MULTILINE)
_AMX_DEFINITIONS = Path(__file__).with_name("amx.ll")


def stand_in(level: Level) -> Level:
    """The level with AVX2's instruction set; all else stays its own."""
    return dataclasses.replace(level, cpu=_BASE.cpu, features=_BASE.features)


def with_stand_ins(text: str) -> str:
    """A module's LLVM IR with definitions in place of AVX-512's intrinsics.

    Before: ``declare <8 x i32> @llvm.x86.avx512.vpdpbusd.256(…)  … call <8 x i32> @llvm.x86.avx512.vpdpbusd.256(…)``
    After:  ``define internal <8 x i32> @stand_in.x86.avx512.vpdpbusd.256(…) { … }  … call <8 x i32> @stand_in.…(…)``

    Raises:
        KeyError: if there is none for an intrinsic.
    """
    if _AMX_DECLARED.search(text):
        text = _with_tile_registers(re.sub(_AMX, r"@stand_in.\1", _AMX_DECLARED.sub("", text)))
    definitions = {}
    for name in _DECLARED.findall(text):
        operation, bits = name.removeprefix("x86.").rsplit(".", 1)
        definitions[name] = _DEFINITIONS[operation](f"@stand_in.{name}", int(bits) // 32)
    text = _DECLARED.sub("", text).replace("@llvm.x86.avx512", "@stand_in.x86.avx512")
    for name, definition in definitions.items():
        declaration, _, rest = definition.partition("\n")
        if declaration.startswith("declare ") and declaration in text:
            definitions[name] = rest
    return text + "\n" + "\n".join(definitions.values())


def _with_tile_registers(text: str) -> str:
    """A module with ``amx.ll`` behind it, without what both declare."""
    declared = set(re.findall(r"^declare [^@\n]+(@[\w.]+)", text, re.MULTILINE))
    lines = [
        line
        for line in _AMX_DEFINITIONS.read_text().splitlines()
        if not (line.startswith("declare") and line.split("(")[0].split()[-1] in declared)
    ]
    return "\n".join([text, *lines, ""])


def _list(kind: str, values: Iterable[object]) -> str:
    return "<" + ", ".join(f"{kind} {value}" for value in values) + ">"


def _every(kind: str, value: object, lanes: int) -> str:
    return _list(kind, [value] * lanes)


def _part(source: str, kind: str, first: int, step: int, lanes: int) -> str:
    """Every ``step``-th element of a vector of ``step * lanes``."""
    vector, places = f"<{step * lanes} x {kind}>", range(first, step * lanes, step)
    return f"shufflevector {vector} {source}, {vector} poison, <{lanes} x i32> {_list('i32', places)}"


def _vpdpbusd(name: str, lanes: int) -> str:
    """Four products of unsigned and signed bytes added to each sum."""
    sums, factors = f"<{lanes} x i32>", f"<{4 * lanes} x i8>"
    lines = _added_products(lanes, 4, "zext", factors, "%c")
    return _function(name, sums, f"{sums} %c, {factors} %a, {factors} %b", lines)


def _pmaddwd(name: str, lanes: int) -> str:
    """Two products of words added up."""
    sums, factors = f"<{lanes} x i32>", f"<{2 * lanes} x i16>"
    lines = _added_products(lanes, 2, "sext", factors, "zeroinitializer")
    return _function(name, sums, f"{factors} %a, {factors} %b", lines)


def _added_products(lanes: int, count: int, widen: str, factors: str, start: str) -> list[str]:
    """Lines that add ``count`` neighbouring products of ``%a``, which ``widen`` makes int32, and signed ``%b``."""
    sums, wide = f"<{lanes} x i32>", f"<{count * lanes} x i32>"
    return [
        f"%x = {widen} {factors} %a to {wide}",
        f"%w = sext {factors} %b to {wide}",
        f"%p = mul {wide} %x, %w",
        *(f"%p{place} = {_part('%p', 'i32', place, count, lanes)}" for place in range(count)),
        *(f"%s{place + 1} = add {sums} {f'%s{place}' if place else start}, %p{place}" for place in range(count)),
        f"ret {sums} %s{count}",
    ]


def _cvtneps2bf16(name: str, lanes: int) -> str:
    """float32 rounded to bfloat16, half to even; subnormal numbers become zero."""
    floats, bits, half, mask = f"<{lanes} x float>", f"<{lanes} x i32>", f"<{lanes} x bfloat>", f"<{lanes} x i1>"
    lines = [
        f"%b = bitcast {floats} %a to {bits}",
        f"%h = lshr {bits} %b, {_every('i32', 16, lanes)}",
        f"%odd = and {bits} %h, {_every('i32', 1, lanes)}",
        f"%up = add {bits} %odd, {_every('i32', 0x7FFF, lanes)}",
        f"%r = add {bits} %b, %up",
        f"%exponent = and {bits} %b, {_every('i32', 0x7F800000, lanes)}",
        f"%tiny = icmp eq {bits} %exponent, zeroinitializer",
        f"%sign = and {bits} %b, {_every('i32', -(2**31), lanes)}",
        f"%value = select {mask} %tiny, {bits} %sign, {bits} %r",
        f"%shifted = lshr {bits} %value, {_every('i32', 16, lanes)}",
        f"%short = trunc {bits} %shifted to <{lanes} x i16>",
        f"%y = bitcast <{lanes} x i16> %short to {half}",
        f"ret {half} %y",
    ]
    return _function(name, half, f"{floats} %a", lines)


def _dpbf16ps(name: str, lanes: int) -> str:
    """Two products of bfloat16 added to each sum, the second of a pair first."""
    sums, pairs, bits = f"<{lanes} x float>", f"<{2 * lanes} x bfloat>", f"<{lanes} x i32>"
    fma = f"@llvm.fma.v{lanes}f32"
    lines = []
    for factor in "ab":
        lines += [
            f"%{factor}i = bitcast {pairs} %{factor} to {bits}",
            f"%{factor}h = and {bits} %{factor}i, {_every('i32', -(2**16), lanes)}",
            f"%{factor}l = shl {bits} %{factor}i, {_every('i32', 16, lanes)}",
            f"%{factor}1 = bitcast {bits} %{factor}h to {sums}",
            f"%{factor}0 = bitcast {bits} %{factor}l to {sums}",
        ]
    lines += [
        f"%s = call {sums} {fma}({sums} %a1, {sums} %b1, {sums} %c)",
        f"%t = call {sums} {fma}({sums} %a0, {sums} %b0, {sums} %s)",
        f"ret {sums} %t",
    ]
    return f"declare {sums} {fma}({sums}, {sums}, {sums})\n" + _function(
        name, sums, f"{sums} %c, {pairs} %a, {pairs} %b", lines
    )


def _pack(narrow: str, low: int, high: int) -> Callable[[str, int], str]:
    """Two vectors narrowed with saturation to half their width, by turns for each block of 128 bits."""

    def define(name: str, lanes: int) -> str:
        wide = {"i16": "i32", "i8": "i16"}[narrow]
        count = 4 * lanes // (int(wide[1:]) // 8)
        source, both, block = f"<{count} x {wide}>", f"<{2 * count} x {wide}>", 128 // int(wide[1:])
        places = [
            first + place for at in range(0, count, block) for first in (at, count + at) for place in range(block)
        ]
        result = f"<{2 * count} x {narrow}>"
        limits = {bound: _every(wide, value, 2 * count) for bound, value in (("low", low), ("high", high))}
        lines = [
            f"%v = shufflevector {source} %a, {source} %b, <{2 * count} x i32> {_list('i32', places)}",
            f"%above = icmp sgt {both} %v, {limits['low']}",
            f"%l = select <{2 * count} x i1> %above, {both} %v, {both} {limits['low']}",
            f"%below = icmp slt {both} %l, {limits['high']}",
            f"%h = select <{2 * count} x i1> %below, {both} %l, {both} {limits['high']}",
            f"%y = trunc {both} %h to {result}",
            f"ret {result} %y",
        ]
        return _function(name, result, f"{source} %a, {source} %b", lines)

    return define


def _cvtps2dq(name: str, lanes: int) -> str:
    """float32 rounded to int32, half to even; what has no room there becomes the least number. No lane is masked."""
    floats, integers = f"<{lanes} x float>", f"<{lanes} x i32>"
    even = f"@llvm.roundeven.v{lanes}f32"
    lines = [
        f"%r = call {floats} {even}({floats} %a)",
        f"%above = fcmp oge {floats} %r, {_every('float', -(2.0**31), lanes)}",
        f"%below = fcmp olt {floats} %r, {_every('float', 2.0**31, lanes)}",
        f"%fits = and <{lanes} x i1> %above, %below",
        f"%s = select <{lanes} x i1> %fits, {floats} %r, {floats} {_every('float', -(2.0**31), lanes)}",
        f"%y = fptosi {floats} %s to {integers}",
        f"ret {integers} %y",
    ]
    parameters = f"{floats} %a, {integers} %source, i{lanes} %mask, i32 %rounding"
    return f"declare {floats} {even}({floats})\n" + _function(name, integers, parameters, lines)


def _function(name: str, result: str, parameters: str, lines: list[str]) -> str:
    return "\n  ".join([f"define internal {result} {name}({parameters}) alwaysinline {{", *lines]) + "\n}\n"


_DEFINITIONS = {
    "avx512.vpdpbusd": _vpdpbusd,
    "avx512.pmaddw.d": _pmaddwd,
    "avx512bf16.cvtneps2bf16": _cvtneps2bf16,
    "avx512bf16.dpbf16ps": _dpbf16ps,
    "avx512.packssdw": _pack("i16", -(2**15), 2**15 - 1),
    "avx512.packuswb": _pack("i8", 0, 255),
    "avx512.mask.cvtps2dq": _cvtps2dq,
}
