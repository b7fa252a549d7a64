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
    if not re.search(rf"\b{re.escape(config.token)}\b", caption):
        word = re.compile(rf"\b{re.escape(config.class_word)}\b", re.IGNORECASE)
        if not word.search(caption):
            return f"{prompt}, {caption}"
        caption = word.sub(lambda match: f"{config.token} {match[0]}", caption, count=1)
    complete = not age_text or mentioned_age_classes(caption) or mentioned_years(caption)
    return caption if complete else f"{caption}, as {age_text}"
