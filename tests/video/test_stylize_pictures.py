"""``edgeinfer stylize`` on pictures, and contact sheets."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 45, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16"])
def test_all_kinds_of_pictures_are_read(stylize, tmp_path, mode):
    gray = np.linspace(0, 255, 30 * 45).reshape(30, 45)
    if mode == "I;16":
        image = Image.fromarray((gray * 257).astype(np.uint16))
    else:
        image = Image.fromarray(gray.astype(np.uint8)).convert("RGB").convert(mode)
    image.save(tmp_path / "in.png")
    status, out, _ = stylize(tmp_path / "in.png", "-o", tmp_path / "out.png", "--style", "8")
    assert status == 0
    assert "45x30" in out
    result = np.asarray(Image.open(tmp_path / "out.png"))
    assert result.shape == (30, 45, 3)
    assert result.std() > 5


def test_orientation_of_cameras_is_respected(stylize, tmp_path):
    image = Image.fromarray(np.zeros((30, 45, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "in.jpg", exif=exif)
    assert "30x45" in stylize(tmp_path / "in.jpg", "-o", tmp_path / "out.png", "--style", "8")[1]


def test_contact_sheet_shows_the_styles_asked_for(stylize, photo, tmp_path):
    status, out, _ = stylize(photo, "-o", tmp_path / "few.png", "--contact-sheet", "1,8,19")
    assert status == 0
    assert "3 styles" in out
    assert "26 styles" in stylize(photo, "-o", tmp_path / "all.png", "--contact-sheet")[1]
    few, everything = (Image.open(tmp_path / name) for name in ("few.png", "all.png"))
    assert few.width * few.height * 3 < everything.width * everything.height


def test_contact_sheet_of_a_video_takes_one_frame(stylize, clip, tmp_path):
    source = clip(tmp_path / "in.mp4", frames=12)
    for seconds in ("0", "0.5"):
        status, _, err = stylize(source, "-o", tmp_path / "sheet.png", "--contact-sheet", "1", "--at", seconds)
        assert status == 0, err
    assert Image.open(tmp_path / "sheet.png").width > 64
    status, _, err = stylize(source, "-o", tmp_path / "sheet.png", "--contact-sheet", "1", "--at", "99")
    assert status == 2
    assert "ends before 99" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out.mp4", "--style", "1"], "a picture is written to a file named .png"),
        (["-o", "out.png", "--contact-sheet", "1,99"], "there is no style 99"),
        (["-o", "out.png", "--contact-sheet", "--style", "1"], "without --style"),
    ],
)
def test_wrong_arguments_are_explained(stylize, photo, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = stylize(photo, *arguments)
    assert status == 2
    assert message in err


def test_damaged_picture_is_named(stylize, photo, tmp_path):
    photo.write_bytes(photo.read_bytes()[:200])
    status, _, err = stylize(photo, "-o", tmp_path / "out.png", "--style", "1")
    assert status == 2
    assert "photo.png" in err
    assert not (tmp_path / "out.png").exists()
