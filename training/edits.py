"""Instructions for an edit model that changes the age in a photo: what to change and what to keep."""

from .ages import age_class, as_class, display_name, fill_prompt
from .errors import InvalidSetting

EDIT_PROMPT = (
    "Show the same {token} {class_word} {age}. Change only what age changes. Keep the identity: the colour, shape and "
    "distance of the eyes, the shape of nose, mouth and ears, moles and scars. Keep pose, expression, light and "
    "background."
)

# The words after the colon describe the changes. They also follow an age in years of that class.
EDIT_WORDS = {
    "child": "as a child of about seven: a small round face with full cheeks, a short nose, large eyes, a child's body",
    "teenager": "as a teenager of about sixteen: a slim face not quite grown, smooth skin, no wrinkles, no grey hair",
    "youngadults": "as a young adult of about twenty-seven: a grown, firm face, smooth skin, no grey hair",
    "middleaged": "in middle age, about forty-five: fine lines around the eyes and on the forehead, first grey hair",
    "elderly": "elderly, about sixty-five: clear wrinkles, a softer jaw, bags under the eyes, grey and thinner hair",
    "old": "very old, about eighty-five: deep wrinkles, sagging and spotted skin, thin white hair",
}


def edit_words_text() -> str:
    """Returns EDIT_WORDS as editable text: one line per class."""
    return "\n".join(f"{name}: {words}" for name, words in EDIT_WORDS.items())


def read_edit_words(text: str) -> dict[str, str]:
    """Parses the text of edit_words_text; skips empty lines.

    Raises UserError for a line that does not start with an age class and a colon.
    """
    table = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, words = line.partition(":")
        line_class = age_class(name)
        if not colon or line_class is None:
            raise InvalidSetting(
                f"'{line}' does not start with an age class and a colon. The classes are: {', '.join(EDIT_WORDS)}."
            )
        table[line_class] = words.strip()
    return table


def edit_prompt(
    age: str | int, words: dict[str, str], template: str = EDIT_PROMPT, token: str = "", class_word: str = "person"
) -> str:
    """Returns the instruction that changes a photo's person to ``age``, a class or years.

    ``token`` and ``class_word`` name a trained subject. Raises UserError if ``words`` lacks the age class.
    """
    name = as_class(age)
    if name not in words:
        raise InvalidSetting(f"The edit words have no line for the age class {display_name(name)}. Add one.")
    age_text = words[name]
    if isinstance(age, int):
        age_text = f"at the age of {age}: {age_text.partition(':')[2].strip() or age_text}"
    return " ".join(fill_prompt(template, token=token, class_word=class_word, age=age_text).split())
