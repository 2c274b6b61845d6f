"""Calibration data: folders of pictures, ``.npz`` and ``.npy`` files as inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.pictures import PICTURE_SUFFIXES, pillow, read_picture
from edgeinfer.runtime.port import Port
from edgeinfer.tools.inspect import default_shapes

Sample = dict[str, np.ndarray]
CHANNELS = 3
CROP_SHARES = (0.4, 1.0)


def read_samples(
    ports: Sequence[Port],
    data: Path,
    limit: int,
    shapes: Mapping[str, tuple[int, ...]],
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    crops: int = 0,
) -> list[Sample]:
    """Samples for a model, one at a time (batches of one).

    Args:
        ports: the model's inputs.
        data: a folder with pictures (looked through with its subfolders), one picture, an ``.npz`` file with an array
            for every input, or an ``.npy`` file for a model with one input. The arrays' first axis counts samples.
        limit: at most so many pictures or arrays, spread evenly over all there are.
        shapes: sizes for pictures; inputs left out have their declared size, or 256 where it is open.
        mean: taken from pictures with values 0..1, one number or three.
        std: what they are then divided by.
        crops: how many samples each picture gives: parts of it, of 40 to 100 % of its size, by a seeded generator,
            every other one mirrored. 0 for the middle of the whole picture.

    Raises:
        InputError: if there is no data, or it does not fit the inputs.
    """
    if data.is_dir() or data.suffix.lower() in PICTURE_SUFFIXES:
        return _from_pictures(ports, data, limit, default_shapes(ports, shapes), mean, std, crops)
    if crops:
        raise InputError(f"{data} holds arrays: crops are taken of pictures alone")
    if data.suffix.lower() in (".npz", ".npy"):
        return _from_arrays(ports, data, limit)
    found = "is neither a folder, a picture, .npz nor .npy" if data.exists() else "does not exist"
    raise InputError(f"calibration data {data} {found}")


def _spread(count: int, limit: int) -> list[int]:
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, limit))})


def _from_pictures(
    ports: Sequence[Port], data: Path, limit: int, shapes: Mapping[str, tuple[int, ...]],
    mean: Sequence[float], std: Sequence[float], crops: int,
) -> list[Sample]:  # fmt: skip
    files = sorted(path for path in data.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    files = files if data.is_dir() else [data]
    if not files:
        raise InputError(f"there are no pictures in {data}; pictures end in {', '.join(PICTURE_SUFFIXES)}")
    pictures = [port for port in ports if _is_picture(port)]
    others = [port for port in ports if port not in pictures]
    if len(pictures) != 1 or any(len(shapes[port.name]) != 1 or port.dtype.numpy.kind != "f" for port in others):
        described = ", ".join(f"{port.name} {port.shape}" for port in ports)
        raise InputError(f"pictures alone do not make up the inputs ({described}): give an .npz file with all of them")
    # Pictures come again where that shows more of the unit vectors.
    vectors = max((shapes[port.name][0] for port in others), default=0)
    places = _spread(len(files), limit)
    places = [places[index % len(places)] for index in range(max(len(places) * max(1, crops), min(limit, vectors)))]
    samples = []
    generator = np.random.default_rng(0)
    port = pictures[0]
    for index, place in enumerate(places):
        pixels = read_picture(files[place])
        pixels = random_crop(pixels, *_size(port, shapes[port.name]), generator) if crops else pixels
        feeds = {port.name: _picture(pixels, port, shapes[port.name], mean, std)}
        feeds |= {other.name: _unit_vector(other, shapes[other.name][0], index) for other in others}
        samples.append(feeds)
    return samples


def _is_picture(port: Port) -> bool:
    return port.shape is not None and len(port.shape) == 4 and CHANNELS in (port.shape[1], port.shape[3])


def _unit_vector(port: Port, size: int, index: int) -> np.ndarray:
    """One style after the other: weight 1 for one, 0 for all others; a step of 7 mixes them early."""
    vector = np.zeros(size, port.dtype.numpy)
    vector[index * 7 % size] = 1
    return vector


def random_crop(
    pixels: np.ndarray, height: int, width: int, generator: np.random.Generator
) -> np.ndarray:  # fmt: skip
    """A part of a picture of the proportions of a size, 40 to 100 % of the largest such part; maybe mirrored.

    Args:
        pixels: uint8 [height, width, 3].
        height: of the size whose proportions the part has.
        width: likewise.
        generator: what chooses.
    """
    fit = min(pixels.shape[0] / height, pixels.shape[1] / width) * generator.uniform(*CROP_SHARES)
    tall, wide = max(1, int(height * fit)), max(1, int(width * fit))
    top = generator.integers(pixels.shape[0] - tall + 1)
    left = generator.integers(pixels.shape[1] - wide + 1)
    part = pixels[top : top + tall, left : left + wide]
    return part[:, ::-1] if generator.random() < 1 / 2 else part


def _size(port: Port, shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a picture."""
    height, width = shape[2:] if port.shape is not None and port.shape[1] == CHANNELS else shape[1:3]
    return height, width


def _picture(
    pixels: np.ndarray, port: Port, shape: tuple[int, ...], mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:  # fmt: skip
    """The middle of a picture in a size, so that nothing is distorted."""
    first = port.shape is not None and port.shape[1] == CHANNELS
    height, width = _size(port, shape)
    image = pillow().fromarray(np.ascontiguousarray(pixels))
    pixels = np.asarray(pillow("ImageOps").fit(image, (width, height), pillow().Resampling.BICUBIC))
    if port.dtype.numpy == np.uint8:
        array = pixels
    else:
        shift, scale = np.asarray(mean, np.float32), np.asarray(std, np.float32)
        array = ((pixels.astype(np.float32) / 255 - shift) / scale).astype(port.dtype.numpy)
    array = array.transpose(2, 0, 1) if first else array
    return np.ascontiguousarray(array[None])


def _from_arrays(ports: Sequence[Port], data: Path, limit: int) -> list[Sample]:
    try:
        loaded = np.load(data, allow_pickle=False)
        arrays = dict(loaded) if data.suffix.lower() == ".npz" else {ports[0].name: loaded}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"calibration data {data} cannot be read: {error}") from error
    names = [port.name for port in ports]
    if sorted(arrays) != sorted(names):
        raise InputError(f"{data} holds {sorted(arrays)}; the model's inputs are {names}")
    counts = {name: array.shape[0] if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) != 1 or not min(counts.values()):
        raise InputError(f"{data} must hold equally many samples for every input along the first axis, got {counts}")
    for port in ports:
        _check_array(port, arrays[port.name], data)
    return [
        {port.name: _one(arrays[port.name], index, port) for port in ports}
        for index in _spread(counts[names[0]], limit)
    ]


def _check_array(port: Port, array: np.ndarray, data: Path) -> None:
    if array.dtype != port.dtype.numpy:
        raise InputError(f"{data}: input '{port.name}' must be {port.dtype.value}, got {array.dtype}")
    rank = None if port.shape is None else len(port.shape)
    if rank is not None and array.ndim not in (rank, rank + 1):
        raise InputError(f"{data}: input '{port.name}' has {rank} dimensions, got an array of shape {array.shape}")


def _one(array: np.ndarray, index: int, port: Port) -> np.ndarray:
    """Sample ``index``: with a batch axis of its own behind the first axis, or the first axis being the batch."""
    whole = port.shape is None or array.ndim == len(port.shape) + 1
    return np.ascontiguousarray(array[index] if whole else array[index : index + 1])
