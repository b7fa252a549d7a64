import pytest

from training.ages import AGE_CLASSES, mentioned_age_classes
from training.edits import EDIT_WORDS, edit_prompt, edit_words_text, read_edit_words
from training.errors import InvalidSetting


def test_every_class_has_words_and_the_table_can_be_edited():
    assert list(EDIT_WORDS) == list(AGE_CLASSES) and read_edit_words(edit_words_text()) == EDIT_WORDS
    changed = read_edit_words("Young adult: at thirty: a beard\n\nold: white")
    assert changed == {"youngadults": "at thirty: a beard", "old": "white"}


def test_an_instruction_contains_the_age_and_what_to_keep():
    prompts = [edit_prompt(age, EDIT_WORDS) for age in AGE_CLASSES]
    assert len(set(prompts)) == 6
    for prompt in prompts:
        assert prompt.startswith("Show the same person ") and "Keep the identity" in prompt and "  " not in prompt
    assert "child" in mentioned_age_classes(prompts[0])


def test_an_age_in_years_uses_the_words_of_its_class():
    prompt = edit_prompt(48, {"middleaged": "in middle age: grey hair"}, "{token} {class_word} {age}", "sks", "woman")
    assert prompt == "sks woman at the age of 48: grey hair"
    assert edit_prompt(80, {"old": "white"}, "{age}") == "at the age of 80: white"


@pytest.mark.parametrize("text", ["ancient: white", "white hair", "old white"])
def test_a_line_without_a_class_raises(text):
    with pytest.raises(InvalidSetting) as error:
        read_edit_words(text)
    assert f"'{text}'" in str(error.value) and ", ".join(AGE_CLASSES) in str(error.value)


def test_a_class_without_words_is_named():
    with pytest.raises(InvalidSetting, match="elderly"):
        edit_prompt(70, {"old": "white"})
