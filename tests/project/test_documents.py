"""What the documents show is run as it stands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx

from benchmarks.models import build
from edgeinfer.cli import build_parser

ROOT = Path(__file__).resolve().parents[2]


def code_blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)


def test_examples_of_the_python_document_run(tmp_path):
    examples = code_blocks("docs/python.md", "python")
    assert len(examples) == 2
    shutil.copytree(ROOT / "models" / "multistyle26", tmp_path / "models" / "multistyle26")
    onnx.save(build("fast_neural_style_16"), tmp_path / "model.onnx")
    program = "\n".join([*examples, "print(outputs['stylized'].shape)", "np.save('result.npy', outputs['stylized'])"])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [line[2:] for line in examples[0].splitlines() if line.startswith("# ")]
    assert done.stdout.splitlines() == [*said, "(1, 3, 256, 256)"]
    assert np.isfinite(np.load(tmp_path / "result.npy")).all()
    assert (tmp_path / "model.edge").is_file()


def test_commands_of_the_documents_are_understood():
    blocks = [block for name in ("README.md", "docs/cli.md", "docs/embedding.md") for block in code_blocks(name, "")]
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("edgeinfer ")]
    assert len(commands) >= 8
    parser = build_parser()
    for command in commands:
        assert parser.parse_args(shlex.split(command)[1:]).verb == command.split()[1]
