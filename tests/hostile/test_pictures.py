"""Image files with faults or rare formats: they are read, read with a remark, or refused."""

import errno
import os
import re
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, PngImagePlugin, UnidentifiedImageError

from tests.hostile.results import assert_holds, refused
from training.pictures.photos import NO_PHOTOS, left_out, read_folder, read_once
from training.pictures.reading import UnreadablePictures, read_picture
from training.pictures.repeats import repeated, signature


@pytest.fixture(scope="module")
def photo(astronaut):
    return astronaut.resize((96, 64), box=(60, 0, 444, 256))


def encoded(image, file_format, **options):
    memory = BytesIO()
    image.save(memory, file_format, **options)
    return memory.getvalue()


def with_chunk(png, name, content):
    """Returns ``png`` with one more chunk after its header."""
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return png[:33] + chunk + png[33:]


def with_exif(jpeg, exif):
    segment = b"Exif\0\0" + exif
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def exif_of(*entries):
    """A little-endian TIFF with one directory; entries are (tag, type, count, value or offset)."""
    rows = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4) + struct.pack("<ii", -1, 0)


TURNED = (0x0112, 3, 1, struct.pack("<HH", 6, 0))  # the camera was held upright
BROKEN_RATIONAL = (0x829A, 10, 1, struct.pack("<I", 8 + 2 + 24 + 4))  # an exposure of -1/0 s
LARGE_TEXT = b"workflow\0\0" + zlib.compress(b"node " * 500_000)


def profile_of(space, tags, device=b"mntr", connection=b"XYZ "):
    """An ICC v2 profile (ICC.1:2001-04) with the given tags, by default for a display."""
    tags = {"desc": b"desc\0\0\0\0\0\0\0\2x\0" + bytes(79), "wtpt": xyz(0.9642, 1, 0.8249)} | tags
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name.encode() + struct.pack(">II", offset + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x02100000, device, space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + xyz(0.9642, 1, 0.8249)[8:] + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


def xyz(*values):
    return b"XYZ \0\0\0\0" + struct.pack(f">{len(values)}i", *(round(65536 * value) for value in values))


def gamma(value):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * value))


# Primaries of Display P3 and of sRGB, adapted to D50 (Bradford), as columns.
P3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
WIDE = profile_of(
    b"RGB ",
    {f"{c}XYZ": xyz(*column) for c, column in zip("rgb", P3.T, strict=True)} | {f"{c}TRC": gamma(2.2) for c in "rgb"},
)
GREY = profile_of(b"GRAY", {"kTRC": gamma(1.8)})
# The colours, in 8-bit Lab, of a press's sixteen overprints of full inks. Black varies fastest.
OVERPRINTS = np.random.default_rng(0).integers((90, 110, 110), (180, 146, 146), (16, 3)).astype(np.uint8)
OVERPRINTS[[0, -1]] = (255, 128, 128), (0, 128, 128)  # paper and all inks; lcms maps them to white and black
STRAIGHT = bytes(range(256))
PRESS = profile_of(
    b"CMYK",
    {
        "A2B0": b"mft1\0\0\0\0\4\3\2\0" + xyz(1, 0, 0, 0, 1, 0, 0, 0, 1)[8:]
        + 4 * STRAIGHT + OVERPRINTS.tobytes() + 3 * STRAIGHT
    },
    device=b"prtr",
    connection=b"Lab ",
)  # fmt: skip


def srgb_of(linear):
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def xyz_of(lab):
    """Converts 8-bit Lab (ICC.1:2001-04, 6.3.4) to XYZ under D50 (CIE 15:2004, 8.2.1)."""
    light, a, b = lab[:, 0] / 255 * 100, lab[:, 1] - 128.0, lab[:, 2] - 128.0
    f = np.stack([(light + 16) / 116 + a / 500, (light + 16) / 116, (light + 16) / 116 - b / 200], 1)
    return (0.9642, 1, 0.8249) * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))


ODD = {  # file: (its bytes, what the remark about it names; None for no remark)
    "a.jpg two bytes short": (lambda p: encoded(p, "JPEG", quality=95)[:-2], "truncated"),
    "a.png without its end": (lambda p: encoded(p, "PNG")[:-12], None),
    "a.png of much text": (lambda p: with_chunk(encoded(p, "PNG"), b"zTXt", LARGE_TEXT), "too large"),
    "a.png of a broken text": (lambda p: with_chunk(encoded(p, "PNG"), b"zTXt", b"a\0\0no zlib"), None),
    "a.png of a broken profile": (lambda p: encoded(p, "PNG", icc_profile=b"no profile"), "profile"),
    "a.png of a grey profile": (lambda p: encoded(p, "PNG", icc_profile=GREY), "profile"),
    "a.jpg of a strange EXIF": (lambda p: with_exif(encoded(p, "JPEG", quality=95), b"II*\0\xff\xff\xff\x7f"), None),
    "a.jpg of a false name.png": (lambda p: encoded(p, "JPEG", quality=95), None),
}


@pytest.mark.parametrize("name", ODD)
def test_intact_pixels_are_read_from_damaged_files(tmp_path, photo, name):
    make, value = ODD[name]
    (tmp_path / name).write_bytes(make(photo))
    reading = read_picture(tmp_path / name)
    difference = np.abs(np.asarray(reading.image).astype(int) - np.asarray(photo))
    assert difference.mean() < 4
    assert len(reading.oddities) == (value is not None)
    if value:
        assert_holds(reading.oddities[0], value)


def test_a_photo_is_turned_although_its_exposure_time_is_invalid(tmp_path, photo):
    stored = photo.transpose(Image.Transpose.ROTATE_90)
    exif = exif_of(TURNED, BROKEN_RATIONAL)
    (tmp_path / "a.jpg").write_bytes(with_exif(encoded(stored, "JPEG", quality=95), exif))
    reading = read_picture(tmp_path / "a.jpg")
    assert reading.oddities == ()
    assert np.abs(np.asarray(reading.image).astype(int) - np.asarray(photo)).mean() < 4


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("jpg", {"quality": 95}), ("jfif", {"quality": 95}), ("webp", {"quality": 95}), ("avif", {"quality": 95}),
        ("heic", {"quality": 95}), ("gif", {}), ("bmp", {}), ("tif", {}), ("jp2", {}), ("ppm", {}), ("tga", {}),
    ],
)  # fmt: skip
def test_formats_of_cameras_phones_and_editors_are_read(tmp_path, photo, suffix, options):
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    photo.save(tmp_path / f"a.{suffix}", **options)
    (read,) = read_folder(tmp_path, "photos")
    assert np.abs(np.asarray(read.image()).astype(int) - np.asarray(photo)).mean() < (12 if suffix == "gif" else 4)
    assert left_out(tmp_path) == []


def test_wide_gamut_colours_are_converted_to_srgb(tmp_path):
    colours = np.random.default_rng(0).integers(60, 200, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png", icc_profile=WIDE)
    expected = srgb_of((colours / 255) ** 2.2 @ P3.T @ np.linalg.inv(SRGB).T)
    converted = np.asarray(read_picture(tmp_path / "a.png").image)
    assert np.abs(converted - expected).max() <= 2
    assert np.abs(converted.astype(int) - colours).max() > 10, "the profile makes a difference"


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_profile_is_applied(tmp_path, mode):
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert(mode)
    ramp.save(tmp_path / "a.png", icc_profile=GREY)
    expected = srgb_of((np.arange(256) / 255) ** 1.8).reshape(16, 16, 1)
    assert np.abs(np.asarray(read_picture(tmp_path / "a.png").image) - expected).max() <= 2


@pytest.mark.parametrize(("suffix", "options"), [("tif", {}), ("jpg", {"quality": 100, "subsampling": 0})])
def test_cmyk_is_converted_with_its_profile(tmp_path, suffix, options):
    inks = [[255 * (printed >> bit & 1) for bit in (3, 2, 1, 0)] for printed in range(16)]
    patches = np.array(inks, np.uint8).reshape(4, 4, 4).repeat(16, 0).repeat(16, 1)
    Image.fromarray(patches, "CMYK").save(tmp_path / f"a.{suffix}", icc_profile=PRESS, **options)
    colours = np.asarray(read_picture(tmp_path / f"a.{suffix}").image)[8::16, 8::16].reshape(16, 3)
    assert np.abs(colours - srgb_of(xyz_of(OVERPRINTS) @ np.linalg.inv(SRGB).T)).max() <= 2


def test_a_transparent_photo_with_a_profile_is_put_on_white(tmp_path):
    image = Image.new("RGBA", (8, 8), (200, 60, 60, 0))
    image.paste((200, 60, 60, 255), (0, 0, 4, 8))
    image.save(tmp_path / "a.png", icc_profile=WIDE)
    opaque = read_picture(tmp_path / "a.png").image
    assert opaque.getpixel((7, 0)) == (255, 255, 255)
    assert opaque.getpixel((0, 0)) == pytest.approx(srgb_of((np.array([200, 60, 60]) / 255) ** 2.2 @ P3.T
                                                           @ np.linalg.inv(SRGB).T), abs=2)  # fmt: skip


def test_an_image_above_pillows_size_limit_is_read_with_a_remark(tmp_path, photo, monkeypatch):
    photo.save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr("training.pictures.reading.MANY_PIXELS", 1000)
    reading = read_picture(tmp_path / "a.png")
    assert np.array_equal(np.asarray(reading.image), np.asarray(photo))
    (remark,) = reading.oddities
    assert_holds(remark, "megapixels")
    assert Image.MAX_IMAGE_PIXELS == 1000, "Pillow's own limit is restored"


ROWS = re.compile(r"\b\d+ of 512\b")


def bomb():
    """A PNG of a few bytes whose header claims 3.6 gigapixels."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return with_chunk(b"\x89PNG\r\n\x1a\n" + bytes(25), b"IDAT", zlib.compress(bytes(99))).replace(
        bytes(25), struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)), 1
    )


REFUSED = {  # file: (its bytes, what the message names; None: the format is unknown)
    "empty.jpg": (lambda p: b"", None),
    "text.png": (lambda p: b"no picture", None),
    "page.jpg": (lambda p: b"<!DOCTYPE html><html>", None),
    "head.jpg": (lambda p: encoded(p.resize((512, 512)), "JPEG")[:200], "truncated"),
    "half.jpg": (lambda p: encoded(p.resize((512, 512)), "JPEG")[:9000], ROWS),
    "half.png": (lambda p: encoded(p.resize((512, 512)), "PNG")[:90_000], ROWS),
    "half.bmp": (lambda p: encoded(p.resize((512, 512)), "BMP")[:90_000], ROWS),
    "half.tif": (lambda p: encoded(p.resize((512, 512)), "TIFF")[:90_000], ROWS),
    "none.png": (lambda p: encoded(p, "PNG")[:33], None),
    "bomb.png": (lambda p: bomb(), 60000),
    "page.eps": (lambda p: encoded(p, "EPS"), None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unreadable_images_are_refused_by_name_with_the_cause(tmp_path, photo, name):
    make, value = REFUSED[name]
    (tmp_path / name).write_bytes(make(photo))
    with refused(tmp_path / name, *([] if value is None else [value]), error=UnreadablePictures) as raised:
        read_picture(tmp_path / name)
    assert isinstance(raised.value.__cause__, UnidentifiedImageError) == (value is None)
    assert [path for path, _ in raised.value.causes] == [tmp_path / name]


def test_one_error_names_every_unreadable_image(tmp_path, photo):
    for name in ("1.png", "4.png"):
        photo.save(tmp_path / name)
    for name in ("2.jpg", "3.png", "5.webp"):
        (tmp_path / name).write_bytes(b"no picture")
    with refused(3, "2.jpg", "3.png", "5.webp", error=UnreadablePictures) as raised:
        read_once(read_folder(tmp_path, "photos"))
    assert [path.name for path, _ in raised.value.causes] == ["2.jpg", "3.png", "5.webp"]
    assert "1.png" not in str(raised.value) and "4.png" not in str(raised.value)


READ, IGNORED, NO_IMAGE = "read", "left out without a remark", "not an image"
FOLDERS = {  # file: READ, IGNORED, or why it is left out: NO_IMAGE, or the word in its path
    "anna.png": READ,
    "2019/anna.JPG": READ,
    "masked ball.png": READ,
    "anna_mask.png": "mask",
    "masks/anna.png": "masks",
    "anna-masklabel.png": "masklabel",
    "thumbs/anna.png": "thumbs",
    "report.png": "report",
    "report-det.png": "report",
    "report.html": NO_IMAGE,
    "anna.txt": IGNORED,
    ".hidden.png": IGNORED,
    "Thumbs.db": NO_IMAGE,
    "clip.mp4": NO_IMAGE,
}


@pytest.mark.parametrize("name", FOLDERS)
def test_files_that_are_left_out_are_named_with_the_reason(tmp_path, photo, name):
    expected = FOLDERS[name]
    photo.save(tmp_path / "first.png")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(encoded(photo, "PNG"))
    names = [read.name for read in read_folder(tmp_path, "photos")]
    assert names == sorted(["first.png", name] if expected == READ else ["first.png"])
    remarks = left_out(tmp_path)
    if expected in (READ, IGNORED):
        assert remarks == []
        return
    (remark,) = remarks
    assert name in remark
    reason = remark.replace(str(tmp_path), "").replace(name, "").lower()
    assert NO_PHOTOS.intersection(re.findall("[a-z]+", reason)) == {expected} - {NO_IMAGE}


def test_links_pipes_and_unreadable_folders_are_named_and_links_to_files_are_read(tmp_path, photo, monkeypatch):
    for name in ("a.png", "34/b.png", "closed/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photo.save(tmp_path / name)
    (tmp_path / "good.png").symlink_to("a.png")
    left = {"gone.png": "nowhere.png", "loop.png": "loop.png", "a.txt": "nowhere.txt", "71": "34", "34/up": ".."}
    for name, target in left.items():
        (tmp_path / name).symlink_to(target)
    os.mkfifo(tmp_path / "pipe.png")
    scandir = os.scandir

    def closed_scandir(path):
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", closed_scandir)  # the super-user may read every folder
    assert [read.name for read in read_folder(tmp_path, "photos")] == ["34/b.png", "a.png", "good.png"]
    (remark,) = left_out(tmp_path)
    assert_holds(remark, *left, "pipe.png", "closed", "Permission denied")
    assert "good.png" not in remark


def test_heic_files_without_pillow_heif_are_named_with_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr("training.pictures.photos.suffixes", lambda: {".png"})
    (tmp_path / "IMG_1.HEIC").write_bytes(b"")
    with refused(tmp_path, "IMG_1.HEIC", "pip install pillow-heif"):
        read_folder(tmp_path, "photos")


SAME = {
    "saved again": lambda p: Image.open(BytesIO(encoded(p, "JPEG", quality=40))).convert("RGB"),
    "half as large": lambda p: p.resize((p.width // 2, p.height // 2)),
    "mirrored": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "a little sharper": lambda p: p.filter(ImageFilter.UnsharpMask(2, 50)),
}


@pytest.mark.parametrize("change", SAME)
def test_an_edited_copy_counts_as_a_repeat_and_another_photo_does_not(astronaut, change):
    other = astronaut.transpose(Image.Transpose.ROTATE_90)
    pictures = [signature(image) for image in (astronaut, other, SAME[change](astronaut))]
    assert repeated(pictures) == {2: 0}


def test_large_text_in_a_png_needs_no_remark(tmp_path, photo):
    """ComfyUI saves images like this, with a workflow of several megabytes."""
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 3_000_000)
    photo.save(tmp_path / "a.png", pnginfo=text)
    assert read_picture(tmp_path / "a.png").oddities == ()
