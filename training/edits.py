"""The ages as instructions for a model that edits a given photo: what age changes, and what must stay."""

from .ages import age_class, as_class, display_name, fill_prompt
from .errors import UserError

EDIT_PROMPT = (
    "Show the same {token} {class_word} {age}. Change only what age changes. Keep the identity: the colour, shape and "
    "distance of the eyes, the shape of nose, mouth and ears, moles and scars. Keep pose, expression, light and "
    "background."
)

# Behind the colon what age changes; it also stands behind an age in years of that class.
EDIT_WORDS = {
    "child": "as a child of about seven: a small round face with full cheeks, a short nose, large eyes, a child's body",
    "teenager": "as a teenager of about sixteen: a slim face not quite grown, smooth skin, no wrinkles, no grey hair",
    "youngadults": "as a young adult of about twenty-seven: a grown, firm face, smooth skin, no grey hair",
    "middleaged": "in middle age, about forty-five: fine lines around the eyes and on the forehead, first grey hair",
    "elderly": "elderly, about sixty-five: clear wrinkles, a softer jaw, bags under the eyes, grey and thinner hair",
    "old": "very old, about eighty-five: deep wrinkles, sagging and spotted skin, thin white hair",
}


def edit_words_text() -> str:
    """The table as people edit it: a line for each class."""
    return "\n".join(f"{name}: {words}" for name, words in EDIT_WORDS.items())


def read_edit_words(text: str) -> dict[str, str]:
    """Such a table back; empty lines mean nothing. Raises UserError for a line without an age class before a colon."""
    table = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, words = line.partition(":")
        known = age_class(name)
        if not colon or known is None:
            raise UserError(
                f"'{line}' does not begin with an age class and a colon. The classes are: {', '.join(EDIT_WORDS)}."
            )
        table[known] = words.strip()
    return table


def edit_prompt(
    age: str | int, words: dict[str, str], template: str = EDIT_PROMPT, token: str = "", class_word: str = "person"
) -> str:
    """The instruction that makes a photo show its person at ``age``, a class or years.

    ``token`` and ``class_word`` name a trained subject. Raises UserError where ``words`` have none for the class.
    """
    name = as_class(age)
    if name not in words:
        raise UserError(f"There are no words for the age class {display_name(name)}. Add a line for it.")
    said = words[name]
    if isinstance(age, int):
        said = f"at the age of {age}: {said.partition(':')[2].strip() or said}"
    return " ".join(fill_prompt(template, token=token, class_word=class_word, age=said).split())
