"""The contract of bundles: what the code generator writes into them and the runtime reads."""

from __future__ import annotations

import enum

# Version of the C functions and of the description that a bundle carries.
BUNDLE_ABI = 1
MAX_THREADS = 256
# Stands before the description in JSON, which ends at a zero byte, so that it is found without loading the bundle.
INFO_MARK = b"EDGEINFER-BUNDLE\n"


class BundleStatus(enum.IntEnum):
    """What the C functions return."""

    OK = 0
    NULL = 1
    MEMORY = 2
    THREADS = 3
    STATE = 4
    CPU = 5
