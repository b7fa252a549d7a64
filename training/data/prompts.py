"""TODO."""

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
    """The prompt that a photo is trained with.

    Without an age the instance prompt; with one, "as" and the age come after it. A caption takes its place, with the
    token before its first class word; one that has neither comes behind.
    """
    named = {"token": config.token, "class_word": config.class_word}
    template, said = config.instance_prompt, ""
    if age is not None:
        said = age_words(age if config.photo_years else as_class(age))
        template = template if "{age}" in template else f"{template} as {{age}}"
    prompt = fill_prompt(template, age=said, **named)
    if not caption:
        return prompt
    if not re.search(rf"\b{re.escape(config.token)}\b", caption):
        word = re.compile(rf"\b{re.escape(config.class_word)}\b", re.IGNORECASE)
        if not word.search(caption):
            return f"{prompt}, {caption}"
        caption = word.sub(lambda found: f"{config.token} {found[0]}", caption, count=1)
    aged = not said or mentioned_age_classes(caption) or mentioned_years(caption)
    return caption if aged else f"{caption}, as {said}"
