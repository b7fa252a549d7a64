"""Ages in the numbers of file names: layouts of published data sets, counts, dates and measures."""

from pathlib import Path

import pytest

from training.data.numbers import numbers_in_names


def ages(*names):
    return [number.age for number in numbers_in_names([Path("photos", f"{name}.png") for name in names])]


def notes(*names):
    return [number.note for number in numbers_in_names([Path("photos", f"{name}.png") for name in names])]


@pytest.mark.parametrize(
    ("layout", "names", "truth"),
    [  # names as in the descriptions of the data sets
        ("AgeDB", ["0_MariaCallas_35_f", "17_MariaCallas_40_f", "10002_GoldieHawn_24_f"], [35, 40, 24]),
        ("FG-NET", ["001A02", "001a43", "010A07b"], [2, 43, 7]),
        ("MORPH", ["009055_1M54", "00001_00M36", "012345_10F16"], [54, 36, 16]),
        (
            "UTKFace",
            ["40_1_0_20170109142408075", "1_0_0_20161219140623097.jpg.chip", "53__0_20170116184028385",
             "61_1_20170109142408075", "105_0_0_20170112213500903"],
            [40, 1, 53, 61, "old"],
        ),
        ("MyTimeMachine", ["30_11", "30_14", "30_5", "31_19", "68_69", "70_42"], [30, 30, 30, 31, 68, 70]),
    ],
)  # fmt: skip
def test_names_as_in_a_published_data_set_give_its_ages(layout, names, truth):
    assert ages(*names) == truth
    assert all(layout in note for note in notes(*names))


@pytest.mark.parametrize(
    "names",
    [["17_MariaCallas_40_f", "beach"], ["001A02", "holiday"], ["009055_1M54", "001A02"], ["30_14", "40_60", "beach"]],
)
def test_a_layout_is_read_only_if_all_names_have_it(names):
    assert set(ages(*names)) <= {None, 17}
    assert not any("as in" in note for note in notes(*names))


@pytest.mark.parametrize(
    "names",
    [
        ["3_anna", "4_anna", "6_anna"],
        ["1_anna", "2_anna"],
        [f"{number}_anna" for number in (10, 11, 12)],
        [f"{number}_anna" for number in range(1, 13)],
        [f"{number}_IMG_{1000 + number}" for number in (5, 40, 71)],
        ["1_beach", "2_garden", "3_party"],
        ["3_beach", "4_garden", "6_party"],
        ["1_anna", "2_anna", "71_beach"],
        ["30_11"],  # 30 November?
        ["8_13", "12_30", "11_45"],  # months, or times of the day
        ["1_100", "2_101", "3_102"],
        ["45_1", "45_2", "46_1", "46_2"],  # chapters
        ["60_1", "61_2", "62_3"],
    ],
)
def test_numbers_that_may_count_are_not_ages_and_are_noted(names):
    assert set(ages(*names)) == {None}
    assert all(notes(*names))


@pytest.mark.parametrize(
    ("names", "truth"),
    [
        (["34_beach"], [34]),
        (["34_beach", "8_school", "61_garden"], [34, 8, 61]),
        (["8_school", "12_school", "34_beach"], [8, 12, 34]),
        (["8_anna_1", "8_anna_2", "34_anna_1"], [8, 8, 34]),
        (["1 year", "2 years", "3-year-old anna", "4_years_old"], [1, 2, 3, 4]),
        (["34_May", "34_x", "34 market"], [34, 34, 34]),  # May is a name here: no month has 34 days
    ],
)
def test_numbers_with_one_meaning_are_ages(names, truth):
    assert ages(*names) == truth
    assert not any(notes(*names))


@pytest.mark.parametrize(
    "name",
    ["12 May", "25 Dec 2019", "3_märz", "31 décembre", "14 AUGUST", "50 mm", "6 months", "85_mm_portrait", "72 dpi",
     "1 of 12", "4 x 6", "12 photos", "10 am"],
)  # fmt: skip
def test_dates_and_measures_are_not_ages(name):
    assert ages(name, "34_beach") == [None, 34]
    assert notes(name)[0]


def test_numbers_count_within_their_folder_and_over_all_folders():
    assert ages("8/1_x", "8/2_x", "34/1_x") == [None] * 3
    assert ages("child/1_a", "teen/2_a", "old/3_a") == [None] * 3
