"""Calibration data from pictures and arrays."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgeinfer.errors import InputError, MediaError
from edgeinfer.graph import DType
from edgeinfer.runtime.port import Port
from edgeinfer.tools.samples import read_samples

PICTURE = Port("image", DType.FLOAT32, (1, 3, "h", "w"))
STYLE = Port("style", DType.FLOAT32, (5,))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for index, name in enumerate(("a.png", "b.png", "more/c.png")):
        Image.new("RGB", (40, 20), (50 * index, 255, 0)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_pictures_of_a_folder_and_its_subfolders(photos):
    samples = read_samples([PICTURE], photos, 8, {"image": (1, 3, 16, 16)})
    assert [sample["image"].shape for sample in samples] == [(1, 3, 16, 16)] * 3
    np.testing.assert_allclose(samples[1]["image"][0, :, 3, 3], [50 / 255, 1, 0], atol=1e-6)


def test_pictures_are_spread_over_all_where_there_are_too_many(photos):
    samples = read_samples([PICTURE], photos, 2, {"image": (1, 3, 8, 8)})
    assert [round(float(sample["image"][0, 0, 0, 0] * 255)) for sample in samples] == [0, 100]


def test_mean_and_deviation_by_channel(photos):
    (sample,) = read_samples([PICTURE], photos / "a.png", 8, {"image": (1, 3, 8, 8)}, [0.5, 0.5, 0], [0.5, 1, 1])
    np.testing.assert_allclose(sample["image"][0, :, 0, 0], [-1, 0.5, 0])


def test_channels_last_bytes_stay_bytes(photos):
    port = Port("image", DType.UINT8, (1, 8, 8, 3))
    (sample,) = read_samples([port], photos / "b.png", 1, {})
    assert sample["image"].dtype == np.uint8
    assert sample["image"][0, 2, 2].tolist() == [50, 255, 0]


def test_vectors_beside_pictures_take_one_style_after_the_other(photos):
    samples = read_samples([PICTURE, STYLE], photos, 8, {"image": (1, 3, 8, 8)})
    assert sorted(int(sample["style"].argmax()) for sample in samples) == [0, 1, 2, 3, 4]
    assert all(sample["style"].sum() == 1 for sample in samples)


def test_crops_are_parts_of_every_picture_and_always_the_same(photos):
    gradient = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (100, 200, 3))
    Image.fromarray(np.ascontiguousarray(gradient)).save(photos / "a.png")
    first, second = (
        [x["image"] for x in read_samples([PICTURE], photos, 8, {"image": (1, 3, 8, 16)}, crops=5)] for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert len(first) == 15
    spans = [float(np.ptp(crop[0, 0, 3])) * 255 for crop in first[::3]]
    assert all(0.3 * 200 < span <= 200 for span in spans)
    assert len({round(span) for span in spans}) > 2


def test_arrays_have_no_crops(tmp_path):
    np.savez(tmp_path / "data.npz", image=np.zeros((2, 3, 6, 6), np.float32))
    with pytest.raises(InputError, match="crops are taken of pictures alone"):
        read_samples([PICTURE], tmp_path / "data.npz", 9, {}, crops=2)


@pytest.mark.parametrize(("shape", "expected"), [((4, 1, 3, 6, 6), 4), ((4, 3, 6, 6), 4)])
def test_arrays_with_and_without_a_batch_axis(tmp_path, shape, expected):
    np.savez(tmp_path / "data.npz", image=np.zeros(shape, np.float32))
    samples = read_samples([PICTURE], tmp_path / "data.npz", 9, {})
    assert [sample["image"].shape for sample in samples] == [(1, 3, 6, 6)] * expected


def test_npy_for_the_only_input(tmp_path):
    np.save(tmp_path / "data.npy", np.ones((3, 3, 6, 6), np.float32))
    assert len(read_samples([PICTURE], tmp_path / "data.npy", 9, {})) == 3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"picture": np.zeros((1, 3, 6, 6), np.float32)}, r"holds \['picture'\]; the model's inputs are \['image'\]"),
        ({"image": np.zeros((2, 3, 6, 6))}, "must be float32, got float64"),
        ({"image": np.zeros((3, 6), np.float32)}, "has 4 dimensions, got an array of shape"),
        ({"image": np.zeros((0, 3, 6, 6), np.float32)}, "equally many samples"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_samples([PICTURE], tmp_path / "data.npz", 9, {})


def test_missing_empty_and_damaged_data(tmp_path, photos):
    with pytest.raises(InputError, match="does not exist"):
        read_samples([PICTURE], tmp_path / "nowhere", 9, {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there are no pictures in"):
        read_samples([PICTURE], tmp_path / "empty", 9, {})
    (tmp_path / "bad.npz").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match=r"bad.npz cannot be read"):
        read_samples([PICTURE], tmp_path / "bad.npz", 9, {})
    (photos / "a.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match="a.png cannot be read as a picture"):
        read_samples([PICTURE], photos, 9, {})
    with pytest.raises(InputError, match="neither a folder, a picture"):
        read_samples([PICTURE], photos / "notes.txt", 9, {})


def test_pictures_are_not_enough_for_other_inputs(photos):
    with pytest.raises(InputError, match=r"give an \.npz file"):
        read_samples([PICTURE, Port("mask", DType.FLOAT32, (1, 4))], photos, 9, {})
