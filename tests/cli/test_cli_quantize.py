"""``edgeinfer quantize`` and ``edgeinfer compare`` on the shipped model."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from PIL import Image

import edgeinfer
from edgeinfer.format import read_edge
from edgeinfer.quantize.metrics import peak_signal_to_noise

SIZE = ["--shape", "image=1x3x96x96"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "cat", "coffee"):
        Image.fromarray(getattr(skimage.data, name)()).resize((160, 120)).save(folder / f"{name}.png")
    return folder


def test_shipped_model_becomes_small_and_stays_close(command, shipped, photos, tmp_path):
    output, page = tmp_path / "small.edge", tmp_path / "report.html"
    status, text, _ = command(
        "quantize", shipped, "--data", photos, "-o", output, "--html", page, "--samples", 6, "--keep-slow", *SIZE
    )
    assert status == 0
    assert "100.0% of the multiply-adds run on integers" in text
    assert output.stat().st_size <= 230_000
    assert page.read_text().count("<svg") == 1
    assert "stylized" in page.read_text()
    image = np.asarray(Image.open(photos / "cat.png").convert("RGB"), np.float32).transpose(2, 0, 1)[None] / 255
    feeds = {"image": image[:, :, :96, :96].copy(), "style_weights": np.eye(26, dtype=np.float32)[4]}
    with edgeinfer.load(shipped) as before, edgeinfer.load(output) as after:
        assert peak_signal_to_noise(before.run(feeds)["stylized"], after.run(feeds)["stylized"]) > 32
    status, text, _ = command("compare", shipped, output, "--data", photos, "--samples", 2, "--html", page, *SIZE)
    assert status == 0
    assert "Conv → QConv" in text
    assert page.read_text().count("<svg") > 30


def test_layers_named_stay_float_and_are_explained(command, shipped, photos, tmp_path):
    output, page = tmp_path / "mixed.edge", tmp_path / "report.html"
    status, text, _ = command(
        "quantize", shipped, "--data", photos, "-o", output, "--samples", 3, "--explain", "--html", page,
        "--keep-float", "/contract.0/Conv", "/contract.1/Conv", *SIZE,
    )  # fmt: skip
    assert status == 0
    assert text.count("kept float as asked") == 2
    assert {node.name for node in read_edge(output).nodes if node.op == "Conv"} >= {"/contract.0/Conv"}
    assert "<svg" in page.read_text()


def test_metric_of_the_users_own(command, shipped, photos, tmp_path):
    metric = tmp_path / "metric.py"
    metric.write_text(
        "import numpy as np\n"
        "def closeness(expected, found):\n"
        "    return -max(float(np.abs(a[k] - b[k]).mean()) for a, b in zip(expected, found) for k in a)\n"
    )
    status, text, _ = command(
        "quantize", shipped, "--data", photos, "-o", tmp_path / "m.edge", "--samples", 2, "--keep-slow",
        "--metric", f"{metric}:closeness", "--least", "-0.03", *SIZE,
    )  # fmt: skip
    assert status == 0
    assert "closeness -0.0" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--psnr", "500"], "PSNR 500 cannot be held even with all layers float"),
        (["--psnr", "30", "--agreement", "0.9"], "name one goal"),
        (["--metric", "nowhere.py:f", "--least", "1"], "the metric nowhere.py:f cannot be loaded"),
        (["--metric", "os:nothing", "--least", "1"], "the metric os:nothing cannot be loaded"),
        (["--metric", "os:nothing"], "say with --least"),
        (["--keep-float", "/nothing"], "there is no layer /nothing to keep float"),
    ],
)
def test_mistakes_are_told(command, shipped, photos, tmp_path, arguments, message):
    status, _, error = command(
        "quantize", shipped, "--data", photos, "-o", tmp_path / "x.edge", "--samples", 1, *arguments, *SIZE
    )
    assert status == 2
    assert message in error
    assert not (tmp_path / "x.edge").exists()


def test_a_quantized_model_cannot_be_quantized_again(command, shipped, photos, tmp_path):
    output = tmp_path / "small.edge"
    command("quantize", shipped, "--data", photos, "-o", output, "--samples", 1, "--keep-slow", *SIZE)
    status, _, error = command("quantize", output, "--data", photos, "-o", tmp_path / "x.edge", *SIZE)
    assert status == 2
    assert "is quantized already" in error
