"""How far outputs are from those of the float model; larger is better for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Outputs = Mapping[str, np.ndarray]
_MOST_ROWS = 1024
# Takes the float model's outputs and the quantized model's for all samples.
Metric = Callable[[Sequence[Outputs], Sequence[Outputs]], float]
# Takes the float model's outputs for all samples, and its and the quantized model's for those held out.
Estimate = Callable[[Sequence[Outputs], Sequence[tuple[Outputs, Outputs]]], float]


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


def expected_agreement(expected: Sequence[Outputs], held_out: Sequence[tuple[Outputs, Outputs]]) -> float:
    """The share of equal top-1 results to be expected on other data of the same kind.

    Shares of errors of one in a hundred cannot be counted on a few tens of samples. So the scores of every sample meet
    the errors of all samples held out, not their own alone: best scores those of best scores, and so on in order, since
    errors are larger where scores are.

    Args:
        expected: the float model's outputs, for all samples.
        held_out: its and the quantized model's, for samples that calibration did not see.
    """
    shares = []
    for name in expected[0]:
        scores = _rows([outputs[name] for outputs in expected])
        known = _rows([outputs[name] for outputs, _ in held_out])
        errors = _rows([found[name] for _, found in held_out]) - known
        if len(errors) > _MOST_ROWS:
            # Enough to count.
            shares.append(agreement(*([{name: pair[side][name]} for pair in held_out] for side in (0, 1))))
            continue
        errors = np.take_along_axis(errors, np.argsort(-known, axis=1), axis=1)
        same = [float(np.mean((row + errors).argmax(axis=1) == 0)) for row in -np.sort(-scores, axis=1)]
        shares.append(float(np.mean(same)))
    return float(np.mean(shares))


def _rows(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """All rows of scores, float64 [rows, classes]."""
    return np.concatenate([array.reshape(-1, array.shape[-1]) for array in arrays], dtype=np.float64)
