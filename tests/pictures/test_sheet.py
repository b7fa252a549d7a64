import math

import numpy as np
import pytest
from PIL import Image

from training.errors import InvalidSetting
from training.pictures.sheet import BACKGROUND, FOUND, MISSING, annotated, contact_sheet, mean_similarity, sheet_of_rows

GREY = (90, 90, 90)


def test_a_face_gets_a_box_and_a_missing_face_a_red_frame():
    picture = Image.new("RGB", (200, 200), GREY)
    boxed = annotated(picture, (50.0, 40.0, 120.0, 130.0), "0.512")
    missing = annotated(picture, None, "no face")
    assert boxed.getpixel((50, 80)) == FOUND and boxed.getpixel((80, 80)) == GREY and boxed.getpixel((0, 80)) == GREY
    assert missing.getpixel((0, 80)) == MISSING and missing.getpixel((100, 80)) == GREY
    assert picture.getpixel((0, 80)) == GREY, "the original image was changed"
    assert (np.asarray(boxed)[200:] != np.asarray(annotated(picture, (50.0, 40.0, 120.0, 130.0), "0.999"))[200:]).any()


def test_a_label_does_not_cover_a_small_image():
    picture = Image.effect_noise((64, 64), 90).convert("RGB")
    marked = np.asarray(annotated(picture, (63.0, 63.0, 63.0, 63.0), "0.512\nlikely"))
    assert marked.shape[1] == 64 and marked.shape[0] > 64 + 2 * 11
    assert np.array_equal(marked[:63, :63], np.asarray(picture)[:63, :63])


@pytest.mark.parametrize("label", ["0.512\nsame person", "0.512\nlikely\nfrom the side", "12: no face"])
def test_a_label_is_not_cut_off_on_a_small_image(label):
    bar = np.asarray(annotated(Image.new("RGB", (64, 64)), (8, 8, 56, 56), label))[64:]
    assert (bar[:, [0, -1]] == BACKGROUND).all() and (bar != BACKGROUND).any()


def test_a_sheet_shows_all_images_whole_and_in_reading_order():
    colours = [(n * 40, 20, 20) for n in range(1, 6)]
    sheet = contact_sheet([Image.new("RGB", (30, 20), colour) for colour in colours], list("abcde"), columns=3)
    pixels = np.asarray(sheet).astype(int)
    middles = []
    for colour in colours:
        rows, columns = np.nonzero((pixels == colour).all(axis=2))
        assert len(rows) == 30 * 20
        middles.append((rows.mean(), columns.mean()))
    assert middles == sorted(middles)


def test_headings_give_the_mean_similarity_over_the_images_with_a_face():
    pictures = [Image.new("RGB", (30, 20), (n * 40, 20, 20)) for n in range(1, 5)]
    plain, named = sheet_of_rows(pictures, list("abcd"), 2, []), sheet_of_rows(pictures, list("abcd"), 2, ["x", "y"])
    assert plain.height < named.height and plain.width == named.width
    assert np.array_equal(plain, contact_sheet(pictures, list("abcd"), 2))
    with_means = sheet_of_rows(pictures, list("abcd"), 2, ["x", "y"], [0.5, math.nan, 0.1, 0.3])
    assert not np.array_equal(with_means, named)
    assert mean_similarity([0.5, math.nan]) == "mean 0.500, 1 without a face"
    assert mean_similarity([0.1, 0.3]) == "mean 0.200" and mean_similarity([math.nan]) == "no face"
    with pytest.raises(InvalidSetting, match=r"\b1 headings.*\b2 rows"):
        sheet_of_rows(pictures, list("abcd"), 2, ["x"])
