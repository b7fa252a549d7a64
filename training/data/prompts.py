"""The prompts that photos are trained with."""

import re

from ..ages import (
    age_words,
    as_class,
    fill_prompt,
    mentioned_age_classes,
    mentioned_years,
)
from ..config import TrainingConfig

# Letters of scripts that do not separate words by spaces, or attach particles to them as Korean does.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Korean
    "\u3005-\u3007\u3040-\u312f\u31f0-\u31ff\uff66-\uff9f"  # Japanese syllables, Bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)


def instance_prompt(config: TrainingConfig, age: str | int | None = None, caption: str | None = None) -> str:
    """Returns the training prompt of a photo.

    This is the instance prompt, followed by "as" and the age if known. A caption replaces it, with the token inserted
    before the first class word; a caption with neither token nor class word is appended instead.
    """
    named = {"token": config.token, "class_word": config.class_word}
    template, age_text = config.instance_prompt, ""
    if age is not None:
        age_text = age_words(age if config.photo_years else as_class(age))
        template = template if "{age}" in template else f"{template} as {{age}}"
    prompt = fill_prompt(template, age=age_text, **named)
    if not caption:
        return prompt
    if not _whole_word(config.token).search(caption):
        class_word = _whole_word(config.class_word, re.IGNORECASE)
        if not class_word.search(caption):
            return f"{prompt}, {caption}"
        caption = class_word.sub(lambda match: f"{config.token} {match[0]}", caption, count=1)
    complete = not age_text or mentioned_age_classes(caption) or mentioned_years(caption)
    return caption if complete else f"{caption}, as {age_text}"


def _whole_word(word: str, flags: int = 0) -> re.Pattern[str]:
    r"""Returns a pattern for ``word`` where it is not part of a longer word; in UNSPACED scripts, for it anywhere.

    Unlike ``\b``, this also finds words that begin or end with punctuation, such as <anna>.
    """
    letter = rf"[^\W{UNSPACED}]"
    before = rf"(?<!{letter})" if re.match(letter, word) else ""
    after = rf"(?!{letter})" if re.search(rf"{letter}\Z", word) else ""
    return re.compile(before + re.escape(word) + after, flags)
