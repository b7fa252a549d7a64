import numpy as np
from PIL import Image

from training.pictures.sheet import FOUND, MISSING, annotated, contact_sheet

GREY = (90, 90, 90)


def test_a_found_face_is_boxed_and_a_missing_one_framed_in_red():
    picture = Image.new("RGB", (200, 200), GREY)
    found = annotated(picture, (50.0, 40.0, 120.0, 130.0), "0.512")
    missing = annotated(picture, None, "no face")
    assert found.getpixel((50, 80)) == FOUND and found.getpixel((80, 80)) == GREY and found.getpixel((0, 80)) == GREY
    assert missing.getpixel((0, 80)) == MISSING and missing.getpixel((100, 80)) == GREY
    assert picture.getpixel((0, 80)) == GREY, "the picture given stays as it was"
    assert (np.asarray(found)[170:] != np.asarray(annotated(picture, (50.0, 40.0, 120.0, 130.0), "0.999"))[170:]).any()


def test_a_sheet_holds_every_picture_whole_in_reading_order():
    colours = [(n * 40, 20, 20) for n in range(1, 6)]
    sheet = contact_sheet([Image.new("RGB", (30, 20), colour) for colour in colours], list("abcde"), columns=3)
    found = np.asarray(sheet).astype(int)
    middles = []
    for colour in colours:
        rows, columns = np.nonzero((found == colour).all(axis=2))
        assert len(rows) == 30 * 20
        middles.append((rows.mean(), columns.mean()))
    assert middles == sorted(middles)
