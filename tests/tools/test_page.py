"""Pages of reports."""

from __future__ import annotations

from edgeinfer.tools.page import figures, histograms, table


def test_headers_stand_over_their_numbers():
    html = table(["name", "ms", "empty at first"], [["/a/Conv", "0.12", ""], ["1x1", "-3", "4 %"]])
    assert "<th>name</th>" in html
    assert '<th class="number">ms</th><th class="number">empty at first</th>' in html
    assert '<td>/a/Conv</td><td class="number">0.12</td><td></td>' in html


def test_tables_may_be_empty():
    assert table(["name", "ms"], []).count("<th>") == 2


def test_drawings_have_captions_and_shrink():
    html = figures([("a < b", histograms([1, 2], [2, 1], 0, 1)), ("c", "")])
    assert html.count("<figure>") == 2
    assert "<figcaption>a &lt; b</figcaption>" in html
    assert 'viewBox="0 0 260 76"' in html
