"""Masks of photos: what they are read from, and what does not fit."""

import numpy as np
import pytest
from PIL import Image

from tests.parts import picture
from training.data.subject_photos import read_photos
from training.errors import UserError
from training.pictures.masks import face_mask, mask_of
from training.pictures.photos import Photo, left_out


def half(size=(64, 64)):
    """White on the left."""
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    return mask


def test_masks_lie_beside_photos_or_in_their_alpha_channel_and_are_no_photos(tmp_path):
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


def test_only_masks_without_a_photo_are_named_as_left_out(tmp_path):
    picture(0).save(tmp_path / "a.jpg")
    for name in ("a-mask.png", "lonely_mask.png"):
        half().save(tmp_path / name)
    (said,) = left_out(tmp_path)
    assert "lonely_mask.png (by its name a mask, no photo)" in said and "a-mask" not in said


def test_a_damaged_photo_that_is_used_as_far_as_it_goes_has_no_mask(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (640, 640, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    photo = Photo("a.jpg", path)
    assert photo.read().oddities and mask_of(photo) is None


def test_a_mask_of_everything_is_none():
    assert mask_of(Photo("a", picture(0), mask=Image.new("L", (64, 64), "white"))) is None


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (Image.new("L", (64, 32), "white"), "x is 64 x 64 px and its mask 64 x 32 px"),
        (Image.new("L", (64, 64)), "The mask of x is all black"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask, sentence):
    with pytest.raises(UserError, match=sentence):
        mask_of(Photo("x", picture(0), mask=mask))


def test_a_damaged_mask_is_named(tmp_path):
    (tmp_path / "a-mask.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"a-mask\.png cannot be read as a mask"):
        mask_of(Photo("a", picture(0), mask=tmp_path / "a-mask.png"))


def test_the_region_of_a_face_holds_its_box_and_fades_out():
    mask = np.asarray(face_mask((40.0, 40.0, 60.0, 60.0), (100, 100)))
    assert mask[40:60, 40:60].min() == 255 and mask[[0, -1]].max() == 0 and mask[:, [0, -1]].max() == 0
    assert np.argmax(mask[:, 50] > 0) < 100 - np.argmax(mask[::-1, 50] > 0) - 60 + 40 - 20  # more above, for hair
    assert len(np.unique(mask)) > 10
