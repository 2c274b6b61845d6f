"""``edgeinfer stylize`` on videos: frames, times, sound, sizes, and what goes wrong."""

from __future__ import annotations

import numpy as np
import pytest


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if "part" in path.name)


def test_times_and_sound_are_kept(stylize, clip, contents, tmp_path):
    source = clip(tmp_path / "in.mp4")
    status, out, _ = stylize(source, "-o", tmp_path / "out.mp4", "--style", "19")
    assert status == 0
    assert "6 frames of 64x48" in out
    assert "frames/s; sound: aac copied" in out
    before, after = contents(source), contents(tmp_path / "out.mp4")
    assert after.size == (64, 48)
    assert after.times == pytest.approx(before.times, abs=1e-3)
    assert after.sound == "aac"
    assert after.sound_seconds == pytest.approx(before.sound_seconds, abs=0.05)
    assert np.abs(after.first.astype(int) - before.first).mean() > 10
    assert leftovers(tmp_path) == []


def test_progress_shows_frames_per_second(stylize, clip, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeinfer.video.progress.LINE_INTERVAL", 0.0)
    status, _, err = stylize(clip(tmp_path / "in.mp4", frames=30), "-o", tmp_path / "out.mp4", "--style", "3")
    assert status == 0
    assert "frame 30 of 30" in err
    assert "frames/s" in err


def test_styles_differ_and_blend(stylize, clip, contents, tmp_path):
    source = clip(tmp_path / "in.mp4", frames=1, sound=None)
    pictures = {}
    for name, style in {"a": "3", "b": "19", "mix": "3:0.5,19:0.5"}.items():
        assert stylize(source, "-o", tmp_path / f"{name}.mp4", "--style", style)[0] == 0
        pictures[name] = contents(tmp_path / f"{name}.mp4").first.astype(int)
    assert np.abs(pictures["a"] - pictures["b"]).mean() > 10
    assert min(np.abs(pictures["mix"] - pictures[name]).mean() for name in "ab") > 3


def test_variable_frame_rate_is_kept(stylize, clip, contents, tmp_path):
    source = clip(tmp_path / "in.mp4", ticks=[0, 1, 4, 5, 9, 10])
    assert stylize(source, "-o", tmp_path / "out.mp4", "--style", "1")[0] == 0
    assert contents(tmp_path / "out.mp4").times == pytest.approx(contents(source).times, abs=2e-3)


@pytest.mark.parametrize(("size", "expected"), [("32x24", (32, 24)), ("32x", (32, 24)), ("x36", (48, 36))])
def test_size_is_as_asked(stylize, clip, contents, tmp_path, size, expected):
    source = clip(tmp_path / "in.mp4", sound=None)
    assert stylize(source, "-o", tmp_path / "out.mp4", "--style", "1", "--size", size)[0] == 0
    assert contents(tmp_path / "out.mp4").size == expected


def test_odd_sizes_work(stylize, clip, contents, tmp_path):
    source = clip(tmp_path / "in.mp4", width=58, height=42, sound=None)
    assert stylize(source, "-o", tmp_path / "out.mp4", "--style", "1")[0] == 0
    assert contents(tmp_path / "out.mp4").size == (58, 42)


@pytest.mark.parametrize("codec", ["mp3", "pcm_s16le", None])
def test_other_sound(stylize, clip, contents, tmp_path, codec):
    source = clip(tmp_path / "in.mkv", sound=codec)
    assert stylize(source, "-o", tmp_path / "out.mp4", "--style", "1")[0] == 0
    sound = contents(tmp_path / "out.mp4").sound
    assert (sound is None) == (codec is None)


def test_sound_can_be_left_out_and_frames_limited(stylize, clip, contents, tmp_path):
    source = clip(tmp_path / "in.mp4", frames=12)
    status, out, _ = stylize(source, "-o", tmp_path / "out.mp4", "--style", "1", "--no-sound", "--frames", "4")
    assert status == 0
    assert "4 frames" in out
    after = contents(tmp_path / "out.mp4")
    assert (len(after.times), after.sound) == (4, None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("no video"), "cannot decode"),
        (lambda path: path.write_bytes(b""), "cannot decode"),
        (lambda path: None, "there is no file"),
        (lambda path: path.mkdir(), "in.mp4"),
    ],
)
def test_bad_source_is_named_and_an_old_result_kept(stylize, tmp_path, make, message):
    make(tmp_path / "in.mp4")
    (tmp_path / "out.mp4").write_text("old")
    status, _, err = stylize(tmp_path / "in.mp4", "-o", tmp_path / "out.mp4", "--style", "1")
    assert status == 2
    assert message in err
    assert "in.mp4" in err
    assert "Traceback" not in err
    assert (tmp_path / "out.mp4").read_text() == "old"
    assert leftovers(tmp_path) == []


def test_truncated_video_gives_what_can_be_decoded_or_an_error(stylize, clip, contents, tmp_path):
    source = clip(tmp_path / "in.mkv", frames=24, sound=None)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 2 // 3])
    status, _, err = stylize(source, "-o", tmp_path / "out.mp4", "--style", "1")
    assert "Traceback" not in err
    if status == 0:
        assert 0 < len(contents(tmp_path / "out.mp4").times) <= 24
    else:
        assert "in.mkv" in err
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out.xyz", "--style", "1"], "is written to a file named .mp4"),
        (["-o", "none/out.mp4", "--style", "1"], "there is no folder none"),
        (["-o", "out.mp4", "--style", "26"], "there is no style 26: the model has styles 0 to 25"),
        (["-o", "out.mp4", "--style", "3:x"], "'x' is not a weight"),
        (["-o", "out.mp4"], "choose a style from 0 to 25"),
        (["-o", "in.mp4", "--style", "1"], "it is the source"),
        (["-o", "out.mp4", "--style", "1", "--size", "0x5"], "size"),
    ],
)
def test_wrong_arguments_are_explained(stylize, clip, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "in.mp4", frames=2)
    status, _, err = stylize("in.mp4", *arguments)
    assert status == 2
    assert message in err


def test_failure_while_writing_leaves_nothing_behind(stylize, clip, tmp_path, monkeypatch):
    from edgeinfer.video.writer import VideoWriter

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VideoWriter, "write", full)
    (tmp_path / "out.mp4").write_text("old")
    status, _, err = stylize(clip(tmp_path / "in.mp4"), "-o", tmp_path / "out.mp4", "--style", "1")
    assert status == 2
    assert "No space left" in err
    assert (tmp_path / "out.mp4").read_text() == "old"
    assert leftovers(tmp_path) == []
