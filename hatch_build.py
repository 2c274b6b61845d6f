"""Wheels with kernel packs: ``edgeinfer.codegen.wheels`` says by the environment which, and for which platform."""

from __future__ import annotations

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelPackHook(BuildHookInterface):
    """Adds the folder ``EDGEINFER_WHEEL_PACKS`` and the platform tag ``EDGEINFER_WHEEL_PLATFORM`` to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is built; without the two variables it is a pure one."""
        packs, platform = os.environ.get("EDGEINFER_WHEEL_PACKS"), os.environ.get("EDGEINFER_WHEEL_PLATFORM")
        if packs and platform:
            build_data["force_include"][packs] = "edgeinfer/packs"
            build_data["tag"] = f"py3-none-{platform}"
            build_data["pure_python"] = False
