"""One model's timeline, steps and memory as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from edgeinfer.tools.inspect import shape_text
from edgeinfer.tools.page import Page, svg_start, table, write_page
from edgeinfer.tools.text import bytes_text

_COLOURS = (
    "#2f6fb5",
    "#d9822b",
    "#3f9c6b",
    "#b04a6f",
    "#7a68b8",
    "#8c7a4f",
    "#4aa3b0",
    "#c0504a",
    "#6c7686",
    "#a3b03f",
)
_WIDTH, _LEFT = 1100, 70
_TIMELINE_HEIGHT, _ARENA_HEIGHT = 46, 320


def write_bench_page(path: Path, result: Mapping[str, Any]) -> None:
    """Write what ``bench`` measured with a profile as one page that needs nothing else.

    Raises:
        MediaError: if the file cannot be written.
    """
    shapes = ", ".join(f"{name} {shape_text(shape)}" for name, shape in result["shapes"].items())
    page = Page(f"{Path(result['model']).name}: {result['median_ms']:.2f} ms")
    page.add_text(f"{shapes}, {result['threads']} thread(s), kernels for {result['level']}")
    names = ("load", "plan", "first", "median", "p95", "min")
    page.add(table([f"{name} (ms)" for name in names], [[f"{result[f'{name}_ms']:.2f}" for name in names]]))
    steps = result["steps"]
    colours = _operator_colours(steps)
    page.add_heading("Timeline")
    page.add_text("Every step by itself, one after the other, as all workers run it together.")
    page.add(_legend(colours))
    page.add(timeline(steps, colours))
    page.add_heading("Memory")
    page.add_text(
        f"Arena {bytes_text(result['arena_bytes'])}: tensors {bytes_text(result['activation_bytes'])}, of which no "
        f"arrangement could do with less than {bytes_text(result['lower_bound_bytes'])}; the rest is scratch memory of "
        f"the workers. Packed weights {bytes_text(result['weight_bytes'])}, peak memory of the process "
        f"{bytes_text(result['peak_memory_bytes'])}."
    )
    page.add_text("A box is a tensor: from left to right the steps during which it is needed, upwards its bytes.")
    page.add(arena_map(result["arena"], len(steps), result["activation_bytes"]))
    page.add_heading("Steps")
    page.add_text(
        f"The peak is the {result['peak_gmac_per_s']:.1f} GMAC/s that a large matrix product reaches here; Winograd "
        "convolutions need fewer multiply-adds than are counted, and may lie above."
    )
    page.add(table(*_step_rows(steps, result["peak_gmac_per_s"])))
    write_page(path, page)


def _step_rows(steps: Sequence[Mapping[str, Any]], peak: float) -> tuple[list[str], list[list[object]]]:
    total = sum(step["ms"] for step in steps) or 1.0
    headers = ["step", "node", "operator", "kernel", "ms", "share", "GMAC/s", "of the peak", "GB/s"]
    rows: list[list[object]] = []
    for index, step in enumerate(steps):
        speed = step["gmac_per_s"]
        rows.append([
            index, step["node"], step["op"], step["kernel"] or f"host: {step['reason']}", f"{step['ms']:.3f}",
            f"{step['ms'] / total:.1%}", f"{speed:.1f}" if speed else "", f"{speed / peak:.0%}" if speed else "",
            f"{step['bytes'] / step['ms'] / 1e6:.1f}" if step["ms"] else "",
        ])  # fmt: skip
    return headers, rows


def _operator_colours(steps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A colour for each operator, those that take the most time first."""
    times: dict[str, float] = {}
    for step in steps:
        times[step["op"]] = times.get(step["op"], 0.0) + step["ms"]
    ordered = sorted(times, key=lambda op: -times[op])
    return {op: _COLOURS[min(index, len(_COLOURS) - 1)] for index, op in enumerate(ordered)}


def _legend(colours: Mapping[str, str]) -> str:
    parts = [
        f'<span style="white-space:nowrap"><span style="background:{colour}">&emsp;</span> {escape(op)}</span>'
        for op, colour in colours.items()
    ]
    return f"<p>{' &ensp; '.join(parts)}</p>"


def timeline(steps: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> str:
    """The steps as boxes as wide as they take time; pointing at one tells which it is."""
    total = sum(step["ms"] for step in steps) or 1.0
    lines = [svg_start(_LEFT + _WIDTH, _TIMELINE_HEIGHT)]
    at = float(_LEFT)
    for index, step in enumerate(steps):
        width = step["ms"] / total * _WIDTH
        title = f"{index}: {step['node']}, {step['op']}, {step['ms']:.3f} ms"
        lines.append(
            f'<rect x="{at:.2f}" y="0" width="{width:.2f}" height="26" fill="{colours[step["op"]]}" stroke="white" '
            f'stroke-width="0.5"><title>{escape(title)}</title></rect>'
        )
        at += width
    for mark in range(5):
        x, anchor = _LEFT + mark / 4 * _WIDTH, ("start", "middle", "middle", "middle", "end")[mark]
        lines.append(f'<text x="{x:.1f}" y="42" text-anchor="{anchor}">{total * mark / 4:.2f} ms</text>')
    return "\n".join([*lines, "</svg>"])


def arena_map(boxes: Sequence[Mapping[str, Any]], steps: int, size: int) -> str:
    """Tensors as boxes over steps and bytes, offset 0 below."""
    lines = [svg_start(_LEFT + _WIDTH, _ARENA_HEIGHT + 22)]
    size, steps = max(size, 1), max(steps, 1)
    for box in boxes:
        left = _LEFT + box["first"] / steps * _WIDTH
        width = (box["last"] + 1 - box["first"]) / steps * _WIDTH
        height = box["bytes"] / size * _ARENA_HEIGHT
        top = _ARENA_HEIGHT - (box["offset"] + box["bytes"]) / size * _ARENA_HEIGHT
        title = f"{box['tensor']}: {bytes_text(box['bytes'])} at {box['offset']}, steps {box['first']} to {box['last']}"
        lines.append(
            f'<rect class="pale" x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}" '
            f'stroke="#2f6fb5" stroke-width="0.7"><title>{escape(title)}</title></rect>'
        )
    for mark in range(3):
        y = _ARENA_HEIGHT * (1 - mark / 2)
        place = min(max(y + 4, 11), _ARENA_HEIGHT)
        lines.append(f'<text x="{_LEFT - 6}" y="{place:.0f}" text-anchor="end">{bytes_text(size * mark // 2)}</text>')
    lines.append(f'<text x="{_LEFT}" y="{_ARENA_HEIGHT + 16}">step 0</text>')
    lines.append(f'<text x="{_LEFT + _WIDTH}" y="{_ARENA_HEIGHT + 16}" text-anchor="end">step {steps - 1}</text>')
    return "\n".join([*lines, "</svg>"])
