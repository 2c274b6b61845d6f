"""Reports as single HTML pages with tables and drawings, which need no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from edgeinfer.errors import MediaError
from edgeinfer.files import replacing

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c2330; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #dfe3ea; text-align: left; overflow-wrap: anywhere; }
th { vertical-align: bottom; overflow-wrap: normal; }
.number { text-align: right; overflow-wrap: normal; }
td.number { white-space: nowrap; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 2rem; }
figure { margin: 0; width: 260px; } figcaption { margin-bottom: .3rem; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: #1c2330; }
.bar { fill: #2f6fb5; } .pale { fill: #b9cfe6; } .other { fill: #d9822b; opacity: .6; }
"""
_LABEL_LENGTH = 44
_BAR_HEIGHT, _LABEL_WIDTH, _CHART_WIDTH = 18, 330, 560


class Page:
    """A page that grows by parts."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def add(self, html: str) -> None:
        """Add HTML as it is."""
        self._parts.append(html)

    def add_heading(self, text: str) -> None:
        """Add a heading."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def add_text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def html(self) -> str:
        """The whole page."""
        title = escape(self.title)
        head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        body = "\n".join(self._parts)
        return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><h1>{title}</h1>\n{body}\n</body></html>\n'


def write_page(path: Path, page: Page) -> None:
    """Write a page beside its place and rename it.

    Raises:
        MediaError: if the file cannot be written.
    """
    try:
        with replacing(path) as part:
            part.write_text(page.html(), encoding="utf-8")
    except OSError as error:
        raise MediaError(f"cannot write {path}: {error.strerror}") from error


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; cells that begin with a digit are aligned to the right, as are the headers of columns of such cells."""
    columns = zip(*rows, strict=True) if rows else ([] for _ in headers)
    head = "".join(_header(header, column) for header, column in zip(headers, columns, strict=True))
    body = "\n".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>\n{body}</table>"


def _is_number(cell: object) -> bool:
    return str(cell).lstrip("-")[:1].isdigit()


def _header(header: str, column: Sequence[object]) -> str:
    filled = [cell for cell in column if str(cell)]
    number = ' class="number"' if filled and all(map(_is_number, filled)) else ""
    return f"<th{number}>{escape(header)}</th>"


def _cell(cell: object) -> str:
    number = ' class="number"' if _is_number(cell) else ""
    return f"<td{number}>{escape(str(cell))}</td>"


def figures(drawings: Sequence[tuple[str, str]]) -> str:
    """Drawings side by side, each given as caption and HTML; as many to a row as fit."""
    parts = [f"<figure><figcaption>{escape(caption)}</figcaption>{html}</figure>" for caption, html in drawings]
    return '<div class="figures">' + "\n".join(parts) + "</div>"


def svg_start(width: int, height: int) -> str:
    """The opening tag of a drawing; it shrinks with a narrow window."""
    return f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'


def bar_chart(rows: Sequence[tuple[str, float, bool]]) -> str:
    """Horizontal bars: label, length (not negative), and whether the bar is pale."""
    longest = max((value for _, value, _ in rows), default=0.0) or 1.0
    height = _BAR_HEIGHT * len(rows)
    lines = [svg_start(_LABEL_WIDTH + _CHART_WIDTH + 80, height)]
    for index, (label, value, pale) in enumerate(rows):
        top, width = index * _BAR_HEIGHT, max(0.0, value) / longest * _CHART_WIDTH
        kind = "pale" if pale else "bar"
        lines += [
            f'<text x="{_LABEL_WIDTH - 8}" y="{top + 13}" text-anchor="end">{escape(_shortened(label))}</text>',
            f'<rect class="{kind}" x="{_LABEL_WIDTH}" y="{top + 3}" width="{width:.1f}" height="12"/>',
            f'<text x="{_LABEL_WIDTH + width + 5:.1f}" y="{top + 13}">{value:.4g}</text>',
        ]
    return "\n".join([*lines, "</svg>"])


def _shortened(label: str) -> str:
    """The end of a label that is too long to stand beside a bar."""
    return label if len(label) <= _LABEL_LENGTH else f"…{label[1 - _LABEL_LENGTH :]}"


def histograms(first: Sequence[float], second: Sequence[float], low: float, high: float) -> str:
    """Two histograms over the same range, one over the other."""
    width, height = 260, 60
    tallest = max([*first, *second, 1e-12])
    lines = [svg_start(width, height + 16)]
    for kind, counts in (("bar", first), ("other", second)):
        step = width / max(1, len(counts))
        for index, count in enumerate(counts):
            tall = count / tallest * height
            lines.append(
                f'<rect class="{kind}" x="{index * step:.1f}" y="{height - tall:.1f}" width="{step:.1f}"'
                f' height="{tall:.1f}"/>'
            )
    lines.append(f'<text x="0" y="{height + 13}">{low:.3g}</text>')
    lines.append(f'<text x="{width}" y="{height + 13}" text-anchor="end">{high:.3g}</text>')
    return "\n".join([*lines, "</svg>"])
