"""What is measured: models with the shapes of their inputs, and the goals for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.models import build, real_model


@dataclass(frozen=True)
class Case:
    """One model with one set of input shapes.

    Attributes:
        model: its name.
        shapes: shapes of the inputs by name, the picture first.
        goal: the largest share of the best peer's time that we want to need.
        scaling_goal: how many times faster two threads shall be than one.
        real: the model comes from a package; others are generated.
    """

    model: str
    shapes: dict[str, tuple[int, ...]]
    goal: float
    scaling_goal: float
    real: bool = False

    @property
    def label(self) -> str:
        """Model and picture size."""
        picture = next(iter(self.shapes.values()))
        return f"{self.model} {picture[-2]}x{picture[-1]}"


def _style(width: int, size: tuple[int, int], goal: float) -> Case:
    return Case(f"fast_neural_style_{width}", {"image": (1, 3, *size)}, goal, 1.8)


def _multistyle(size: tuple[int, int]) -> Case:
    return Case("multistyle26", {"image": (1, 3, *size), "style_weights": (26,)}, 0.5, 1.8, real=True)


def _classifier(model: str, goal: float) -> Case:
    return Case(model, {"image": (1, 3, 224, 224)}, goal, 1.5)


def _text_detection(size: int) -> Case:
    return Case("ppocr_v4_det", {"x": (1, 3, size, size)}, 0.8, 1.5, real=True)


CASES = [
    _style(32, (256, 256), 0.55),
    _style(32, (480, 640), 0.55),
    _style(16, (256, 256), 0.6),
    _multistyle((256, 256)),
    _multistyle((360, 640)),
    _classifier("resnet18", 0.65),
    _classifier("mobilenet_v2", 0.8),
    _classifier("efficientnet_lite0", 0.8),
    _text_detection(320),
    _text_detection(640),
]


def model_path(case: Case, folder: Path) -> Path:
    """The ONNX file of a case, generated into ``folder`` unless it is a real model."""
    if case.real:
        return real_model(case.model)
    path = folder / f"{case.model}.onnx"
    if not path.exists():
        path.write_bytes(build(case.model).SerializeToString())
    return path


def random_feeds(case: Case) -> dict[str, np.ndarray]:
    """Random inputs in 0..1, always the same: pictures like printed pages, vectors that sum to 1."""
    generator = np.random.default_rng(0)
    feeds = {}
    for name, shape in case.shapes.items():
        values = generator.random(shape, dtype=np.float32)
        feeds[name] = values / values.sum() if len(shape) == 1 else page_of_strokes(generator, values)
    return feeds


def page_of_strokes(generator: np.random.Generator, noise: np.ndarray) -> np.ndarray:
    """Lines of dark strokes on light paper, with a little noise; float32 [1, 3, height, width]."""
    height, width = noise.shape[-2:]
    ink = generator.random((height // 4, width // 2)) < 0.5
    ink[np.arange(height // 4) % 6 > 3] = False
    ink = ink.repeat(4, axis=0).repeat(2, axis=1)
    page = np.full((height, width), 0.9, np.float32)
    page[: ink.shape[0], : ink.shape[1]][ink] = 0.1
    return page + np.float32(0.1) * noise
