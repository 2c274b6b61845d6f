"""How far outputs are from those of the float model; larger is better for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Outputs = Mapping[str, np.ndarray]
# Takes the float model's outputs and the quantized model's for all samples.
Metric = Callable[[Sequence[Outputs], Sequence[Outputs]], float]


def signal_to_noise(expected: np.ndarray, found: np.ndarray) -> float:
    """Power of a signal over the power of its error, in dB; infinite where both are equal."""
    signal = np.asarray(expected, np.float64).ravel()
    noise = np.asarray(found, np.float64).ravel() - signal
    power, error = float(signal @ signal), float(noise @ noise)
    if error == 0:
        return np.inf
    return 10 * np.log10(max(power, 1e-300) / error) if np.isfinite(error) else -np.inf


def peak_signal_to_noise(expected: np.ndarray, found: np.ndarray) -> float:
    """Square of the range of a signal over the mean squared error, in dB; infinite where both are equal."""
    signal = np.asarray(expected, np.float64).ravel()
    error = float(np.mean((np.asarray(found, np.float64).ravel() - signal) ** 2)) if signal.size else 0.0
    if error == 0:
        return np.inf
    return 10 * np.log10(max(float(np.ptp(signal)) ** 2, 1e-300) / error) if np.isfinite(error) else -np.inf


def cosine(expected: np.ndarray, found: np.ndarray) -> float:
    """Cosine of the angle between two tensors; 1 where both are 0."""
    a, b = np.asarray(expected, np.float64).ravel(), np.asarray(found, np.float64).ravel()
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else float(not a.any() and not b.any())


def worst_psnr(expected: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """The least PSNR of all outputs and samples, in dB."""
    return min(
        peak_signal_to_noise(outputs[name], others[name])
        for outputs, others in zip(expected, found, strict=True)
        for name in outputs
    )


def agreement(expected: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """Share of rows of all outputs whose largest element is the same (top-1)."""
    same = [
        np.argmax(outputs[name], axis=-1).ravel() == np.argmax(others[name], axis=-1).ravel()
        for outputs, others in zip(expected, found, strict=True)
        for name in outputs
    ]
    return float(np.concatenate(same).mean())
