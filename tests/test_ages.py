import re
from itertools import pairwise

import pytest

from training.ages import (
    AGE_CLASSES,
    age_class,
    age_of,
    age_sequence,
    age_words,
    display_name,
    fill_prompt,
    leading_age_class,
    mentioned_age_classes,
    parse_age,
    parse_ages,
    with_extra,
)
from training.errors import InvalidSetting


@pytest.mark.parametrize(
    ("spelling", "meant"),
    [
        ("young adult", "youngadults"),
        ("Young-Adults", "youngadults"),
        ("middle-aged", "middleaged"),
        ("Middle Aged", "middleaged"),
        ("middle age", "middleaged"),
        ("Teen", "teenager"),
        ("children", "child"),
        *[(name, name) for name in AGE_CLASSES],
    ],
)
def test_common_spellings_map_to_the_six_classes(spelling, meant):
    assert age_class(spelling) == meant
    assert parse_age(spelling) == meant


@pytest.mark.parametrize("text", ["0", "45", "100", " 7 ", "45-year-old", "45 years old", "45 years"])
def test_whole_years_are_ages(text):
    assert parse_age(text) == int("".join(filter(str.isdigit, text)))


@pytest.mark.parametrize("text", ["101", "-1", "4.5", "ancient", "", "older", "old people home"])
def test_other_text_is_not_an_age(text):
    with pytest.raises(InvalidSetting) as error:
        parse_age(text)
    assert f"'{text}'" in str(error.value) and ", ".join(AGE_CLASSES) in str(error.value)


def test_all_means_the_six_classes_in_order():
    assert parse_ages("all") == ["child", "teenager", "youngadults", "middleaged", "elderly", "old"]
    assert parse_ages("old, 45,Young Adult") == ["old", 45, "youngadults"]
    assert parse_ages("0,child,") == [0, "child"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "child, teenager, youngadults, middleaged, elderly, old"),
        (" , ,", "child, teenager, youngadults, middleaged, elderly, old"),
        ("child,teen,children", " child "),
        ("45, 8, 45-year-old", " 45 years "),
        ("0,0", " 0 years "),
    ],
)
def test_an_empty_list_of_ages_and_a_duplicate_age_raise(text, named):
    with pytest.raises(InvalidSetting) as error:
        parse_ages(text)
    assert f"'{text}'" in str(error.value) and named in str(error.value)


@pytest.mark.parametrize(
    ("stem", "meant"),
    [
        ("child_0001", "child"),
        ("child-1", "child"),
        ("middle-aged_12", "middleaged"),
        ("young adult portrait 3", "youngadults"),
        ("old", "old"),
        ("oldtimer_1", None),
        ("img_0001", None),
        ("0001_child", None),
    ],
)
def test_age_at_the_start_of_a_file_name(stem, meant):
    assert leading_age_class(stem) == meant


def test_ages_mentioned_in_a_caption():
    assert mentioned_age_classes("A photo of a middle-aged, not of an elderly") == {"middleaged", "elderly"}
    assert mentioned_age_classes("photo of a 45-year-old") == set()
    assert mentioned_age_classes("photo of a young adult.") == {"youngadults"}


def test_words_for_prompts_and_for_labels():
    assert (age_words("youngadults"), age_words(45)) == ("youngadults", "45-year-old")
    assert (display_name("youngadults"), display_name("middleaged"), display_name(45)) == (
        "young adult",
        "middle-aged",
        "45 years",
    )


def test_prompts_are_filled_in():
    template = "photo of a {token} {class_word} as {age}"
    assert fill_prompt(template, token="sks", class_word="person", age=45) == "photo of a sks person as 45-year-old"
    assert fill_prompt("{{age}} {age}{token}!", token="{age}", age="old") == "{age} old{age}!"


@pytest.mark.parametrize(
    "template",
    [
        "a {name}",
        "a {token.__class__}",
        "a {token[0]}",
        "a {",
        "a {0}",
        "a {}",
        "a {age:d}",
        "a {age:>2000000000}",
        "a {age!r}",
        "a {age:{token}}",
    ],
)
def test_other_placeholders_in_prompts_raise(template):
    with pytest.raises(InvalidSetting, match=re.escape(f"'{template}'")):
        fill_prompt(template, token="sks")


def test_six_steps_from_child_to_old_are_the_six_classes():
    sequence = age_sequence("child", "old", 6)
    assert [place.age for place in sequence] == list(AGE_CLASSES)
    assert all(place.part == 0 for place in sequence)
    assert [str(place) for place in sequence] == [display_name(age) for age in AGE_CLASSES]


@pytest.mark.parametrize(
    ("first", "last", "count"), [("child", "old", 48), ("old", "teenager", 7), (5, 80, 31), (60, 8, 4)]
)
def test_a_sequence_is_evenly_spaced_between_its_ends(first, last, count):
    scale = list(range(101)) if isinstance(first, int) else list(AGE_CLASSES)
    sequence = age_sequence(first, last, count)
    places = [scale.index(place.age) + place.part for place in sequence]
    steps = [later - earlier for earlier, later in pairwise(places)]
    assert (places[0], places[-1]) == (scale.index(first), scale.index(last))
    assert steps == pytest.approx([(places[-1] - places[0]) / (count - 1)] * (count - 1))
    assert all(scale.index(place.following) - scale.index(place.age) == 1 for place in sequence if place.part)


def test_one_step_is_the_first_age_and_labels_are_rounded_years():
    (only,) = age_sequence("elderly", "old", 1)
    assert (only.age, only.part) == ("elderly", 0)
    assert [str(place) for place in age_sequence(10, 13, 3)] == ["10 years", "12 years", "13 years"]


def test_a_sequence_does_not_mix_classes_and_years():
    with pytest.raises(InvalidSetting, match=r"child.*\b70\b"):
        age_sequence("child", 70, 6)


@pytest.mark.parametrize(
    ("name", "age"),
    [("elderly.png", "elderly"), ("45-year-old.png", 45), ("sub/child_2.png", "child"), ("x.png", None)],
)
def test_age_is_read_from_the_file_name(name, age):
    assert age_of(name) == age


def test_extra_text_follows_a_comma_and_choices_in_braces_are_refused():
    assert with_extra("photo of a person", " in a (garden:1.2)\n") == "photo of a person, in a (garden:1.2)"
    assert with_extra("photo of a person", "{curly}") == "photo of a person, {curly}"
    assert with_extra("photo of a person", " \n") == "photo of a person"
    with pytest.raises(InvalidSetting, match=r"extra.*\{red\|dark blue\}"):
        with_extra("photo of a person", "a {red|dark blue} coat")
