"""What quantization did to a model, as tables and as a page."""

from __future__ import annotations

import math
from pathlib import Path

from edgeinfer.quantize import Goal, LayerResult, Quantized
from edgeinfer.tools.page import Page, bar_chart, table, write_page
from edgeinfer.tools.quantize import output_errors
from edgeinfer.tools.text import bytes_text, decibels, print_table

LAYER_HEADERS = ["layer", "operator", "MMACs", "runs on", "damage alone (dB)", "float ms", "int8 ms", "why float"]


def print_report(
    result: Quantized,
    samples: int,
    times: tuple[float, float],
    sizes: tuple[int, int],
    goal: Goal | None,
    explain: bool,
) -> None:
    """Print the report.

    Args:
        result: the quantized model.
        samples: number of calibration samples.
        times: milliseconds before and after.
        sizes: bytes of the files before and after.
        goal: the goal, if there was one.
        explain: whether to list the layers that run on integers too.
    """
    print_table("", ["", "before", "after", "ratio"], summary_rows(times, sizes))
    print(f"{result.integer_share:.1%} of the multiply-adds run on integers; calibrated on {samples} samples")
    for note in result.notes:
        print(note)
    if goal is not None and result.goal_value is not None:
        print(f"{goal.name} {result.goal_value:.4g} (goal: at least {goal.least:g})")
    print_table("error of the outputs against the float model", *error_rows(result))
    layers = [
        layer for layer in result.layers if explain or (layer.reason and (layer.macs or layer.damage is not None))
    ]
    if layers:
        print_table("layers" if explain else "layers that stay float", LAYER_HEADERS, layer_rows(layers))


def summary_rows(times: tuple[float, float], sizes: tuple[int, int]) -> list[list[object]]:
    """Size and time before and after."""
    return [
        ["file", *map(bytes_text, sizes), f"{sizes[1] / sizes[0]:.2f}"],
        ["time, 1 thread", *(f"{time:.2f} ms" for time in times), f"{times[1] / times[0]:.2f}"],
    ]


def error_rows(result: Quantized) -> tuple[list[str], list[list[object]]]:
    """Headers and rows on the outputs."""
    rows: list[list[object]] = [
        [
            error.name,
            decibels(error.psnr),
            decibels(error.signal_to_noise),
            f"{error.cosine:.5f}",
            f"{error.largest:.3g}",
        ]
        for error in output_errors(result)
    ]
    return ["output", "PSNR (dB)", "SNR (dB)", "cosine", "largest difference"], rows


def damage_decibels(layer: LayerResult) -> float | None:
    """Signal to noise at the outputs if this layer alone runs on integers, in dB; None if not measured."""
    if layer.damage is None:
        return None
    return -10 * math.log10(layer.damage) if layer.damage > 0 else math.inf


def layer_rows(layers: list[LayerResult]) -> list[list[object]]:
    """One row for each layer."""
    rows: list[list[object]] = []
    for layer in layers:
        damage = damage_decibels(layer)
        rows.append([
            layer.name, layer.op, f"{layer.macs / 1e6:.2f}", "int8" if layer.integer else "float",
            "" if damage is None else decibels(damage), f"{layer.float_seconds * 1e3:.3f}",
            "" if layer.integer_seconds is None else f"{layer.integer_seconds * 1e3:.3f}", layer.reason,
        ])  # fmt: skip
    return rows


def write_html(path: Path, model: str, result: Quantized, times: tuple[float, float], sizes: tuple[int, int]) -> None:
    """Write the report as one page that needs nothing else.

    Raises:
        MediaError: if the file cannot be written.
    """
    page = Page(f"{model} on 8-bit integers")
    page.add(table(["", "before", "after", "ratio"], summary_rows(times, sizes)))
    page.add_text(f"{result.integer_share:.1%} of the multiply-adds run on integers. " + ". ".join(result.notes))
    page.add_heading("Error of the outputs against the float model")
    page.add(table(*error_rows(result)))
    measured = [layer for layer in result.layers if layer.damage is not None]
    if measured:
        page.add_heading("Damage: signal to noise at the output if one layer alone runs on integers (dB)")
        page.add(bar_chart([(x.name, min(damage_decibels(x) or 0.0, 120.0), not x.integer) for x in measured]))
        page.add_text("Short bars: much damage. Light bars: layers that stay float.")
    page.add_heading("Layers")
    page.add(table(LAYER_HEADERS, layer_rows(result.layers)))
    write_page(path, page)
