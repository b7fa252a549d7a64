"""Masks of photos: their sources, and the errors for unusable ones."""

import re

import numpy as np
import pytest
from PIL import Image

from tests.parts import picture
from training.data.subject_photos import read_photos
from training.errors import DamagedFile, InvalidData
from training.pictures.masks import face_mask, mask_of
from training.pictures.photos import Photo, left_out


def half(size=(64, 64)):
    """Returns a mask whose left half is white."""
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    return mask


def test_masks_are_files_next_to_photos_or_alpha_channels_and_do_not_count_as_photos(tmp_path):
    for name in ("a.jpg", "b.png", "c.png"):
        picture(0).save(tmp_path / name)
    half().convert("RGB").save(tmp_path / "a-mask.png")
    white = picture(0).convert("RGBA")
    white.putalpha(half())
    white.save(tmp_path / "b_mask.png")
    transparent = picture(0).convert("RGBA")
    transparent.putalpha(half())
    transparent.save(tmp_path / "d.png")
    photos = read_photos(tmp_path, "photos")
    assert [photo.name for photo in photos] == ["a.jpg", "b.png", "c.png", "d.png"]
    masks = [mask_of(photo) for photo in photos]
    assert masks[2] is None
    assert all(np.array_equal(mask, half()) for mask in (masks[0], masks[1], masks[3]))


def test_only_masks_without_a_photo_are_reported_as_skipped(tmp_path):
    picture(0).save(tmp_path / "a.jpg")
    for name in ("a-mask.png", "lonely_mask.png"):
        half().save(tmp_path / name)
    (remark,) = left_out(tmp_path)
    assert re.search(r"lonely_mask\.png \(.*'mask'", remark) and "a-mask" not in remark


def test_a_damaged_but_usable_photo_has_no_mask(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (640, 640, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    photo = Photo("a.jpg", path)
    assert photo.read().oddities and mask_of(photo) is None


def saved(path, values, palette=None):
    image = Image.fromarray(values)
    if palette:
        image.putpalette([channel for colour in palette for channel in colour])
    image.save(path)
    return path


LEFT = np.repeat([[1] * 32 + [0] * 32], 64, axis=0)  # a label map of half()
RAMP = np.repeat([np.arange(64) * 65535 // 63], 64, axis=0)


@pytest.mark.parametrize(
    ("values", "palette"),
    [
        (LEFT.astype(np.uint8), None),
        (LEFT.astype(np.uint16), None),
        ((LEFT * 65535).astype(np.uint16), None),
        (LEFT.astype(bool), None),
        (LEFT.astype(np.uint8), [(0, 0, 0), (1, 1, 1)]),
        (LEFT.astype(np.uint8), [(0, 0, 0), (128, 0, 0)]),
        (1 - LEFT.astype(np.uint8), [(255, 255, 255), (0, 0, 0)]),
    ],
)
def test_label_maps_palettes_and_deep_greys_are_white_on_the_person(tmp_path, values, palette):
    mask = mask_of(Photo("a", picture(0), mask=saved(tmp_path / "a-mask.png", values, palette)))
    assert np.array_equal(mask, half())


def test_a_16_bit_mask_keeps_its_range(tmp_path):
    mask = mask_of(Photo("a", picture(0), mask=saved(tmp_path / "a-mask.png", RAMP.astype(np.uint16))))
    assert np.abs(np.asarray(mask) - RAMP / 257).max() <= 0.5


def test_an_8_bit_mask_with_several_greys_is_unchanged():
    soft = Image.fromarray((RAMP / 257 * 0.8).astype(np.uint8))
    assert np.array_equal(mask_of(Photo("a", picture(0), mask=soft)), soft)


@pytest.mark.parametrize(
    ("values", "palette", "said"),
    [
        (np.arange(64 * 64).reshape(64, 64).astype(np.uint8) % 4, None, r"\b3\b.*\b255\b"),
        (np.arange(64 * 64).reshape(64, 64).astype(np.uint8) % 3, [(0, 0, 0), (192, 128, 128), (0, 128, 0)], r"\b3 "),
    ],
)
def test_a_map_of_several_labels_is_refused_by_the_name_of_its_photo(tmp_path, values, palette, said):
    with pytest.raises(InvalidData, match=rf"x\.png.*{said}"):
        mask_of(Photo("x.png", picture(0), mask=saved(tmp_path / "x-mask.png", values, palette)))


def test_an_all_white_mask_is_none():
    assert mask_of(Photo("a", picture(0), mask=Image.new("L", (64, 64), "white"))) is None


@pytest.mark.parametrize(
    ("mask", "values"),
    [
        (Image.new("L", (64, 32), "white"), r"x\.png.*64 x 64 px.*64 x 32 px"),
        (Image.new("L", (64, 64)), r"x\.png.*black"),
    ],
)
def test_a_mask_of_another_size_and_a_black_mask_raise(mask, values):
    with pytest.raises(InvalidData, match=values):
        mask_of(Photo("x.png", picture(0), mask=mask))


def test_the_error_for_a_damaged_mask_names_the_file(tmp_path):
    (tmp_path / "a-mask.png").write_bytes(b"no picture")
    with pytest.raises(DamagedFile, match=re.escape(str(tmp_path / "a-mask.png"))):
        mask_of(Photo("a", picture(0), mask=tmp_path / "a-mask.png"))


def test_a_face_mask_covers_the_box_and_fades_out():
    mask = np.asarray(face_mask((40.0, 40.0, 60.0, 60.0), (100, 100)))
    assert mask[40:60, 40:60].min() == 255 and mask[[0, -1]].max() == 0 and mask[:, [0, -1]].max() == 0
    assert np.argmax(mask[:, 50] > 0) < 100 - np.argmax(mask[::-1, 50] > 0) - 60 + 40 - 20  # more above, for hair
    assert len(np.unique(mask)) > 10
