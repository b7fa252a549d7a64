import re
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from training.errors import DamagedFile, InvalidData, MissingFile
from training.pictures.photos import read_folder, to_image, to_tensor
from training.pictures.reading import read_picture

WIDTH, HEIGHT = 24, 16
RED, GREEN, BLUE, GREY = (250, 10, 10), (10, 250, 10), (10, 10, 250), (120, 120, 120)


def opened(path):
    return read_picture(path).image


def quadrants():
    """Returns an image with four colours, so that each rotation and flip is different."""
    image = Image.new("RGB", (WIDTH, HEIGHT), RED)
    image.paste(GREEN, (WIDTH // 2, 0, WIDTH, HEIGHT // 2))
    image.paste(BLUE, (0, HEIGHT // 2, WIDTH // 2, HEIGHT))
    image.paste(GREY, (WIDTH // 2, HEIGHT // 2, WIDTH, HEIGHT))
    return image


def corners(image):
    width, height = image.size
    places = [(3, 3), (width - 4, 3), (3, height - 4), (width - 4, height - 4)]
    return [image.getpixel(place) for place in places]


def close(image, expected, tolerance=0):
    assert image.mode == "RGB"
    difference = np.asarray(image).astype(int) - np.asarray(expected).astype(int)
    assert np.abs(difference).max() <= tolerance


STORED_AS = {  # EXIF orientation: the transpose with which an upright image is stored (EXIF 2.32, tag 0x0112)
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", STORED_AS)
def test_exif_rotation_is_undone(tmp_path, orientation, suffix):
    turn = STORED_AS[orientation]
    stored = quadrants() if turn is None else quadrants().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{suffix}", exif=exif)
    close(opened(tmp_path / f"a.{suffix}"), quadrants())


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    ramp = np.linspace(0, 65535, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    expected = np.repeat((ramp / 257).round()[..., None], 3, axis=2)
    close(opened(tmp_path / "a.png"), expected, tolerance=1)


def tiff(path, levels):
    """Writes grey ``levels`` as a TIFF 6.0, little-endian and uncompressed, without the help of a library."""
    kind = {"u": 1, "i": 2, "f": 3}[levels.dtype.kind]
    entries = [(256, 4, levels.shape[1]), (257, 4, levels.shape[0]), (258, 3, 8 * levels.itemsize), (259, 3, 1),
               (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 4, levels.shape[0]), (279, 4, levels.nbytes),
               (339, 3, kind)]  # fmt: skip
    rows = b"".join(struct.pack("<HHII", tag, size, 1, value) for tag, size, value in entries)
    directory = struct.pack("<H", len(entries)) + rows + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + levels.nbytes) + levels.tobytes() + directory)


RAMP = np.linspace(0, 1, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("kind", "white", "said"),
    [
        ("f4", 1, None), ("f4", 255, 255), ("f4", 65535, 65535), ("u4", 2**32 - 1, None), ("u4", 65535, 65535),
        ("i4", 2**31 - 1, None), ("i4", 255, 255), ("i2", 2**15 - 1, None), ("u2", 65535, None),
    ],
)  # fmt: skip
def test_grey_tiffs_keep_their_range(tmp_path, kind, white, said):
    tiff(tmp_path / "a.tif", (RAMP * white).astype(kind))
    reading = read_picture(tmp_path / "a.tif")
    close(reading.image, np.repeat((RAMP * 255)[..., None], 3, axis=2), tolerance=1)
    assert len(reading.oddities) == (said is not None)
    if said:
        assert str(said) in reading.oddities[0]


def test_floats_above_white_are_clipped(tmp_path):
    tiff(tmp_path / "a.tif", (RAMP * 1.08).astype("f4"))
    close(opened(tmp_path / "a.tif"), np.repeat((RAMP * 1.08).clip(0, 1)[..., None] * 255, 3, axis=2), tolerance=1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_with_values_that_are_no_numbers_is_refused_by_name(tmp_path, value):
    levels = RAMP.astype("f4")
    levels[3, 5] = value
    tiff(tmp_path / "a.tif", levels)
    with pytest.raises(DamagedFile, match=rf"{re.escape(str(tmp_path / 'a.tif'))}.*nan"):
        opened(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGB", "png"), ("RGB", "jpg"), ("RGB", "webp"), ("P", "png"), ("CMYK", "jpg"), ("RGB", "bmp")]
)
def test_colours_survive_every_mode_and_format(tmp_path, mode, suffix):
    image = quadrants().convert(mode) if mode != "P" else quadrants().quantize(8)
    image.save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {"quality": 100}))
    for colour, expected in zip(corners(opened(tmp_path / f"a.{suffix}")), corners(quadrants()), strict=True):
        assert np.abs(np.array(colour) - expected).max() <= (12 if suffix == "jpg" else 3)


def test_grey_becomes_equal_channels(tmp_path):
    grey = quadrants().convert("L")
    grey.save(tmp_path / "a.png")
    close(opened(tmp_path / "a.png"), np.repeat(np.asarray(grey)[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_white(tmp_path, mode):
    alpha = Image.new("L", (WIDTH, HEIGHT), 255)
    alpha.paste(0, (0, 0, WIDTH // 2, HEIGHT))
    alpha.paste(128, (0, HEIGHT // 2, WIDTH // 2, HEIGHT))
    image = Image.new("RGBA", (WIDTH, HEIGHT), (40, 40, 40, 255))
    image.putalpha(alpha)
    if mode == "P":
        image = image.quantize(8)
    (image if mode == "P" else image.convert(mode)).save(tmp_path / "a.png")
    clear, solid, half, _ = corners(opened(tmp_path / "a.png"))
    assert clear == (255, 255, 255)
    assert solid == (40, 40, 40)
    assert half[0] == pytest.approx(40 * 128 / 255 + 255 * 127 / 255, abs=2)


def test_errors_for_damaged_and_false_images_name_the_file(tmp_path):
    quadrants().resize((400, 300)).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:300])
    (tmp_path / "text.jpg").write_text("no picture")
    for name in ("half.png", "text.jpg"):
        with pytest.raises(DamagedFile, match=re.escape(str(tmp_path / name))):
            opened(tmp_path / name)


def test_folders_are_read_in_order_and_hidden_and_other_files_are_skipped(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".cache").mkdir()
    for name in ("2.JPG", "1.png", "b/3.webp", ".hidden.png", ".cache/4.png"):
        quadrants().save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    assert [photo.name for photo in read_folder(tmp_path, "photos")] == ["1.png", "2.JPG", "b/3.webp"]


def test_errors_for_empty_and_missing_folders_name_the_folder_and_its_purpose(tmp_path):
    with pytest.raises(InvalidData, match=rf"{re.escape(str(tmp_path))}.*\bportraits\b"):
        read_folder(tmp_path, "portraits")
    with pytest.raises(MissingFile, match=rf"{re.escape(str(tmp_path / 'gone'))}.*\bportraits\b"):
        read_folder(tmp_path / "gone", "portraits")


def test_tensors_are_in_minus_one_to_one_and_convert_back():
    image = quadrants()
    pixels = to_tensor(image)
    assert pixels.shape == (1, 3, HEIGHT, WIDTH)
    assert pixels[0, :, 3, 3].tolist() == pytest.approx([channel / 127.5 - 1 for channel in RED])
    close(to_image(pixels[0]), image)
    assert to_image(torch.full((3, 2, 2), 7.0)).getpixel((0, 0)) == (255, 255, 255)
