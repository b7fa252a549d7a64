import pytest

from training.ages import AGE_CLASSES, mentioned_age_classes
from training.edits import EDIT_WORDS, edit_prompt, edit_words_text, read_edit_words
from training.errors import UserError


def test_every_class_has_words_and_the_table_can_be_edited():
    assert list(EDIT_WORDS) == list(AGE_CLASSES) and read_edit_words(edit_words_text()) == EDIT_WORDS
    changed = read_edit_words("Young adult: at thirty: a beard\n\nold: white")
    assert changed == {"youngadults": "at thirty: a beard", "old": "white"}


def test_an_instruction_says_the_age_and_what_stays():
    prompts = [edit_prompt(age, EDIT_WORDS) for age in AGE_CLASSES]
    assert len(set(prompts)) == 6
    for prompt in prompts:
        assert prompt.startswith("Show the same person ") and "Keep the identity" in prompt and "  " not in prompt
    assert "child" in mentioned_age_classes(prompts[0])


def test_years_take_what_their_class_changes_and_a_subject_its_name():
    prompt = edit_prompt(48, {"middleaged": "in middle age: grey hair"}, "{token} {class_word} {age}", "sks", "woman")
    assert prompt == "sks woman at the age of 48: grey hair"
    assert edit_prompt(80, {"old": "white"}, "{age}") == "at the age of 80: white"


@pytest.mark.parametrize("text", ["ancient: white", "white hair", "old white"])
def test_lines_without_a_class_are_refused(text):
    with pytest.raises(UserError, match="does not begin with an age class and a colon"):
        read_edit_words(text)


def test_a_class_without_words_is_named():
    with pytest.raises(UserError, match="no words for the age class elderly"):
        edit_prompt(70, {"old": "white"})
