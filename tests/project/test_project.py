"""The project as a whole: quick to import, small files, documents whose links lead somewhere."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.ops.registry import INDEX as OPERATORS
from edgeinfer.ops.registry import operators
from edgeinfer.plan.lowering.context import INDEX as LOWERINGS
from edgeinfer.plan.lowering.context import lowerings

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path for folder in ("edgeinfer", "converters", "benchmarks", "models") for path in (ROOT / folder).rglob("*.py")
]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").rglob("*.md")]


def test_importing_costs_little_beyond_numpy():
    program = "import time, numpy; t = time.perf_counter(); import edgeinfer; print(time.perf_counter() - t)"
    runs = [
        float(
            subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True).stdout
        )
        for _ in range(5)
    ]
    assert np.median(runs) < 0.06


def test_loading_imports_neither_compilers_nor_converters():
    program = (
        "import sys, edgeinfer; edgeinfer.load('models/multistyle26/multistyle26.edge');"
        "print(sorted({'numba', 'llvmlite', 'onnx', 'converters'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_source_files_are_of_readable_length():
    assert len(SOURCES) > 100
    long = [str(path.relative_to(ROOT)) for path in SOURCES if len(path.read_text().splitlines()) >= 500]
    assert long == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_of_documents_exist(path):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text())
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize(("index", "registered"), [(OPERATORS, operators), (LOWERINGS, lowerings)])
def test_indices_name_all_that_the_modules_register(index, registered):
    package = importlib.import_module(index.package)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{index.package}.{module.name}")
    names: dict[str, set[str]] = {}
    for (_, name), entry in registered().items():
        function = getattr(entry, "reference", entry)
        names.setdefault(function.__module__.rpartition(".")[2], set()).add(name)
    assert names == index.names
