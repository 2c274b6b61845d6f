"""Whether two object files hold the same machine code under different names."""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

# Fields of the 64-bit ELF header: where the section headers are; their size, their number, and that of their names.
_SECTIONS_AT, _SECTIONS_FORM = 0x28, 0x3A
_PROGRAM_BITS, _RELOCATIONS = 1, 4
_ALLOCATED = 2


class _Section(NamedTuple):
    """A section header of a 64-bit ELF file (System V ABI, chapter 4)."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


def code_digest(content: bytes, suffix: str) -> str:
    """A digest of a 64-bit ELF object file's code and constants, and of what they refer to.

    Args:
        content: the object file.
        suffix: what the names of kernels end in; it does not count.
    """
    (start,) = struct.unpack_from("<Q", content, _SECTIONS_AT)
    size, count, names = struct.unpack_from("<HHH", content, _SECTIONS_FORM)
    sections = [_Section(*struct.unpack_from("<IIQQQQIIQQ", content, start + size * index)) for index in range(count)]

    def text(table: _Section, offset: int) -> bytes:
        first = table.offset + offset
        return content[first : content.index(b"\0", first)]

    def symbol(table: _Section, index: int) -> tuple[bytes, int]:
        name, _, _, place, value, _ = struct.unpack_from("<IBBHQQ", content, table.offset + table.entry_size * index)
        if not name and place < count:
            return text(sections[names], sections[place].name), value
        return text(sections[table.link], name).removesuffix(suffix.encode()), 0

    digest = hashlib.sha256()
    for section in sections:
        name = text(sections[names], section.name)
        if section.kind == _PROGRAM_BITS and section.flags & _ALLOCATED:
            digest.update(repr((name, content[section.offset : section.offset + section.size])).encode())
        elif section.kind == _RELOCATIONS:
            for at in range(section.offset, section.offset + section.size, section.entry_size):
                offset, info, addend = struct.unpack_from("<QQq", content, at)
                target = symbol(sections[section.link], info >> 32)
                digest.update(repr((name, offset, info & 0xFFFFFFFF, addend, target)).encode())
    return digest.hexdigest()
