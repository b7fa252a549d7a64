"""The age of a photo from its EXIF date and a birth date."""

from dataclasses import replace
from datetime import date

import pytest
from PIL import ExifTags, Image

from tests.parts import subject_set
from training.ages import AgeEstimate
from training.data.dates import with_birth_date
from training.data.doubts import age_doubts
from training.data.subject_photos import ages_remarks
from training.errors import InvalidSetting
from training.faces.face_api import ERRORS
from training.pictures.photos import Photo
from training.pictures.reading import taken_on


def photo(folder, name, taken, age=None, tag=ExifTags.Base.DateTimeOriginal):
    exif = Image.Exif()
    if taken:
        exif[ExifTags.IFD.Exif] = {tag: taken}
    Image.new("RGB", (8, 8)).save(folder / name, exif=exif.tobytes())
    return Photo(name, folder / name, age)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff"])
def test_the_date_is_read_from_exif(tmp_path, name):
    assert taken_on(photo(tmp_path, name, "2019:05:31 12:00:00").source) == date(2019, 5, 31)


@pytest.mark.parametrize(
    "taken", ["", "0000:00:00 00:00:00", "    :  :     :  :  ", "2019:13:01 00:00:00", "yesterday"]
)
def test_missing_and_blank_dates_are_none(tmp_path, taken):
    assert taken_on(photo(tmp_path, "a.jpg", taken).source) is None


def test_the_date_of_digitizing_and_damaged_files_give_no_date(tmp_path):
    digitized = photo(tmp_path, "a.jpg", "2019:05:31 12:00:00", tag=ExifTags.Base.DateTimeDigitized)
    (tmp_path / "b.jpg").write_bytes(b"no image")
    assert taken_on(digitized.source) is taken_on(tmp_path / "b.jpg") is None


@pytest.mark.parametrize(
    ("birth", "taken", "years"),
    [
        ("1984-05-31", "2019:05:30 23:59:59", 34),  # the day before the birthday
        ("1984-05-31", "2019:05:31 00:00:00", 35),
        ("1984-05-31", "1984:05:31 00:00:00", 0),
        ("1984-05-31", "1984:05:30 00:00:00", None),  # before the birth
        ("1984-05-31", "2085:06:01 00:00:00", None),  # 101 years
        ("2000-02-29", "2001:02:28 00:00:00", 0),
        ("2000-02-29", "2001:03:01 00:00:00", 1),
    ],
)
def test_the_age_at_the_date(tmp_path, birth, taken, years):
    (dated,) = with_birth_date([photo(tmp_path, "a.jpg", taken)], birth)
    assert dated.age == years and any("a.jpg" in remark for remark in ages_remarks([dated]))


def test_stated_ages_stay_and_contradictions_are_named(tmp_path):
    photos = [photo(tmp_path, f"{age}.jpg", "2019:06:01 00:00:00", age) for age in (35, 34, 8, "old", "middleaged")]
    dated = with_birth_date(photos, "1984-05-31")
    assert [one.age for one in dated] == [35, 34, 8, "old", "middleaged"]
    assert [bool(one.age_note) for one in dated] == [False, False, True, True, False]
    assert "35 years" in dated[2].age_note and "8 years" in dated[2].age_note
    assert with_birth_date(photos, "") == photos


@pytest.mark.parametrize("text", ["31.5.1984", "1984", "1984-02-30", "84-05-31", "1984-05-31T00:00", "1984-W05-1"])
def test_other_birth_dates_are_refused(tmp_path, text):
    with pytest.raises(InvalidSetting, match=text):
        with_birth_date([], text)


class Estimator:
    """Says ``years`` for every face."""

    name = "stub"

    def __init__(self, years, errors):
        self.years, self.errors = years, errors

    def __call__(self, image, face):
        return AgeEstimate(self.years, "old")


def subject(*ages, faces=None):
    found = subject_set(len(ages), faces)
    return replace(found, photos=[replace(one, age=age) for one, age in zip(found.photos, ages, strict=True)])


def test_photos_that_look_much_older_than_stated_are_named():
    (warning,) = age_doubts(subject(3, 30, None, "old", "child"), Estimator(44.0, ERRORS))
    assert all(value in warning for value in ("2 of 5", "0.png", "3 years", "44", "4.png"))
    assert not any(name in warning for name in ("1.png", "2.png", "3.png"))
    assert age_doubts(subject(3, faces=[None]), Estimator(44.0, ERRORS)) == []


@pytest.mark.parametrize(("years", "warned"), [(12.0, False), (17.0, True)])
def test_the_limit_is_two_and_a_half_times_the_mean_error_of_the_stated_class(years, warned):
    assert bool(age_doubts(subject(8), Estimator(years, ERRORS))) == warned  # 8 + 2.5 * 3.4 = 16.5


def test_estimators_of_unknown_error_warn_beyond_20_years():
    assert age_doubts(subject(30), Estimator(49.0, None)) == []
    assert age_doubts(subject(30), Estimator(51.0, None))
