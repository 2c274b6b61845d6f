"""``edgeinfer stylize --style PICTURE``: any painting as the style."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import edgeinfer
from edgeinfer.errors import InputError
from edgeinfer.video.painting import PaintingStylizer, names_painting
from edgeinfer.video.shipped_model import painting_models, shipped_model


@pytest.fixture(scope="module")
def stylizer():
    transform, predict = painting_models(None)
    with edgeinfer.load(transform, 2) as restyling, edgeinfer.load(predict, 2) as describing:
        yield PaintingStylizer(restyling, describing)


@pytest.fixture
def paintings(tmp_path):
    """Paths of a painting of blue waves and one of coarse red dots, not square."""
    rows, columns = np.mgrid[0:120, 0:200]
    waves = np.stack([rows, rows, 155 + 100 * np.sin(rows / 5 + columns / 20)], -1)
    dots = np.where(((rows % 16 < 8) & (columns % 16 < 8))[..., None], [230, 40, 20], [250, 230, 200])
    paths = [tmp_path / "waves.png", tmp_path / "dots.jpg"]
    for path, pixels in zip(paths, (waves, dots), strict=True):
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return paths


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (15, 23, 3), np.uint8).repeat(3, 0).repeat(3, 1)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_each_painting_gives_another_picture(stylize, photo, paintings, tmp_path):
    pictures = []
    for painting in paintings:
        status, out, err = stylize(photo, "-o", tmp_path / "out.png", "--style", painting)
        assert status == 0, err
        assert "69x45" in out
        pictures.append(np.asarray(Image.open(tmp_path / "out.png")).astype(float))
    waves, dots = (picture.mean(axis=(0, 1)) for picture in pictures)
    assert dots[0] - dots[2] > waves[0] - waves[2] + 20, "red dots make a redder picture than blue waves"


def test_blend_is_the_weighted_sum_of_vectors(stylizer, paintings):
    waves, dots = (stylizer.weights(str(painting)) for painting in paintings)
    assert np.abs(waves - dots).max() > 0.1
    blend = stylizer.weights(f"{paintings[0]}:0.25, {paintings[1]}:0.75")
    np.testing.assert_allclose(blend, np.float32(0.25) * waves + np.float32(0.75) * dots, rtol=1e-6, atol=1e-6)


def test_the_square_in_the_middle_is_what_counts(stylizer, paintings, tmp_path):
    image = Image.open(paintings[0])
    image.crop((40, 0, 160, 120)).save(tmp_path / "square.png")
    np.testing.assert_array_equal(stylizer.weights(str(paintings[0])), stylizer.weights(str(tmp_path / "square.png")))


def test_contact_sheet_and_video(stylize, clip, photo, paintings, contents, tmp_path):
    styles = ",".join(map(str, paintings))
    status, out, err = stylize(photo, "-o", tmp_path / "sheet.png", "--contact-sheet", styles)
    assert (status, "2 styles" in out) == (0, True), err
    source = clip(tmp_path / "in.mp4")
    status, _, err = stylize(source, "-o", tmp_path / "out.mp4", "--style", paintings[0])
    assert status == 0, err
    result = contents(tmp_path / "out.mp4")
    assert (result.size, len(result.times), result.sound) == ((64, 48), 6, "aac")


def test_numbers_are_no_paintings_but_files_and_pictures_are(paintings):
    assert not any(names_painting(text) for text in ("", "3", "3:0.6,19:0.4", "all"))
    assert all(names_painting(text) for text in (str(paintings[0]), f"{paintings[0]}:1,2:0.5", "missing.jpg"))


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("missing.jpg", "there is no painting missing.jpg"),
        ("WAVES,DOTS", "gives every style a weight"),
        ("WAVES:0.5,19:0.5", "there is no painting 19"),
        ("WAVES:0.5,DOTS:much", "'much' is not a weight"),
        ("broken.png", "cannot be read as a picture"),
    ],
)
def test_wrong_paintings_are_named(stylize, photo, paintings, tmp_path, monkeypatch, style, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    style = style.replace("WAVES", "waves.png").replace("DOTS", "dots.jpg")
    status, _, err = stylize(photo, "-o", tmp_path / "out.png", "--style", style)
    assert (status, message in err) == (2, True), err
    assert not (tmp_path / "out.png").exists()


def test_folders_without_the_two_networks_are_refused(stylize, photo, paintings, tmp_path):
    arguments = (photo, "-o", tmp_path / "out.png", "--style", paintings[0], "--model", tmp_path)
    status, _, err = stylize(*arguments)
    assert (status, f"there is no {tmp_path / 'transform.edge'}" in err) == (2, True), err


def test_networks_that_do_not_fit_together_are_refused():
    transform, _ = painting_models(None)
    with (
        edgeinfer.load(transform, 1) as restyling,
        edgeinfer.load(shipped_model(), 1) as other,
        pytest.raises(InputError, match=r"gives a style \[100\]"),
    ):
        PaintingStylizer(restyling, other)
