"""Registries that fill themselves when they are asked: which module of a package registers which names.

Importing all operators and all lowerings takes longer than loading a small model; a model needs a few of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping


class NameIndex:
    """The modules of a package by the names that they register when they are imported.

    Args:
        package: the package, such as ``edgeinfer.ops``.
        names: for each of its modules that register something the names, separated by spaces.

    Attributes:
        package: the package.
        names: the names that each module registers.
    """

    def __init__(self, package: str, names: Mapping[str, str]) -> None:
        self.names = {module: frozenset(text.split()) for module, text in names.items()}
        self.package = package
        self._asked: set[str] = set()

    def require(self, name: str) -> None:
        """Import whatever registers a name; nothing if no module does."""
        if name in self._asked:
            return
        self._asked.add(name)
        for module, names in self.names.items():
            if name in names:
                importlib.import_module(f"{self.package}.{module}")

    def require_all(self) -> None:
        """Import every module."""
        for module in self.names:
            importlib.import_module(f"{self.package}.{module}")
