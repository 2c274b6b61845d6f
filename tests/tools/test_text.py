"""Progress of long commands."""

from __future__ import annotations

from edgeinfer.tools import text
from edgeinfer.tools.text import StatusLine


def test_without_a_terminal_a_line_is_written_now_and_then(capsys, monkeypatch):
    monkeypatch.delenv("EDGEINFER_LOG", raising=False)
    times = iter([0.0, 0.0, 1.0, 6.0, 6.0])
    monkeypatch.setattr(text.time, "monotonic", lambda: next(times))
    line = StatusLine()
    for step in ("one", "two", "three"):
        line.show(step)
    line.end()
    assert capsys.readouterr().err == "one\nthree\n"


def test_on_a_terminal_one_line_changes_and_is_cleared(capsys, monkeypatch):
    monkeypatch.delenv("EDGEINFER_LOG", raising=False)
    monkeypatch.setattr(text.sys.stderr, "isatty", lambda: True)
    line = StatusLine()
    line.show("longer")
    line.show("short")
    line.end()
    assert capsys.readouterr().err == "\rlonger\rshort \r     \r"


def test_nothing_is_shown_where_quiet_is_asked_for(capsys, monkeypatch):
    monkeypatch.setenv("EDGEINFER_LOG", "quiet")
    StatusLine().show("one")
    assert capsys.readouterr().err == ""
