"""Age Prompt Encode, Age Sequence Encode and Age Edit Prompts."""

from typing import Any

import torch
from comfy_api.latest import io

from ..training.ages import (
    AGE_CLASSES,
    MAX_AGE,
    SAMPLING_PROMPT,
    age_sequence,
    display_name,
    fill_prompt,
    parse_age,
    parse_ages,
)
from ..training.config import MAX_SEED
from ..training.edits import EDIT_PROMPT, edit_prompt, edit_words_text, read_edit_words
from ..training.errors import UserError
from .ui.checks import blaming, sentence
from .ui.progress import warn
from .ui.sockets import CATEGORY, SubjectSocket, TrainedSubject, advanced, search_aliases

AGES = [*AGE_CLASSES, *map(str, range(MAX_AGE + 1))]


def _age_widget(name: str, default: str, tooltip: str) -> io.Input:
    """A choice of classes and years, into which other spellings can be linked: those of older graphs."""
    help = f"{tooltip} An age class or years; a number or a text can be linked in."
    return io.MultiType.Input(io.Combo.Input(name, options=AGES, default=default, tooltip=help), [io.String, io.Int])


def _prompt_widgets() -> list[io.Input]:
    return [
        io.String.Input(
            "extra", default="", multiline=True, tooltip="Added to the prompt after a comma: place, light, clothes."
        ),
        SubjectSocket.Input("subject", optional=True, tooltip="Brings the token and the class word."),
        advanced(
            io.String.Input(
                "template",
                default=SAMPLING_PROMPT,
                tooltip="The prompt. The names in braces are filled in.",
            )
        ),
        advanced(
            io.String.Input("token", default="sks", tooltip="The subject's rare token; a wired subject overrules it.")
        ),
        advanced(
            io.String.Input(
                "class_word", default="person", tooltip="person, man, woman ...; a wired subject overrules it."
            )
        ),
    ]


def _prompt(
    age: str | int, extra: str, template: str, token: str, class_word: str, subject: TrainedSubject | None
) -> str:
    if subject:
        token, class_word = subject.header.token, subject.header.class_word
    prompt = fill_prompt(template, token=token, class_word=class_word, age=age)
    return f"{prompt}, {extra.strip()}" if extra.strip() else prompt


def _warn_without_age(node: type[io.ComfyNode], template: str) -> None:
    if "{age}" not in template:
        warn(node.hidden.unique_id, [f"The template '{template}' has no {{age}}: the prompt is the same at every age."])


def _require(clip) -> None:
    if clip is None:
        raise UserError("The loaded file has no CLIP. Load one beside it, with Load CLIP or a whole checkpoint.")


class PromptEncode(io.ComfyNode):
    """The prompt for one age, encoded."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingPromptEncode",
            display_name="Age Prompt Encode",
            category=CATEGORY,
            **search_aliases("age prompt", "aging prompt", "clip text encode"),
            description="Writes and encodes the prompt that draws the subject at one age.",
            inputs=[
                io.Clip.Input("clip", tooltip="From Train Aging Subject or Load Aging Subject."),
                _age_widget("age", "elderly", "The age to draw."),
                *_prompt_widgets(),
            ],
            outputs=[
                io.Conditioning.Output(display_name="conditioning", tooltip="For the KSampler, as positive."),
                io.String.Output(display_name="prompt", tooltip="The prompt as it was encoded."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, age=None) -> bool | str:
        """Refuses what is no age."""
        return sentence(parse_age, age)

    @classmethod
    def execute(cls, clip, age, extra, template, token, class_word, subject=None) -> io.NodeOutput:
        """As ComfyUI's CLIP Text Encode, of the filled-in prompt."""
        _require(clip)
        _warn_without_age(cls, template)
        prompt = _prompt(parse_age(age), extra, template, token, class_word, subject)
        return io.NodeOutput(clip.encode_from_tokens_scheduled(clip.tokenize(prompt)), prompt)


class SequenceEncode(io.ComfyNode):
    """The prompts from one age to another, as one batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingSequenceEncode",
            display_name="Age Sequence Encode",
            category=CATEGORY,
            **search_aliases("age progression", "aging sequence", "age slider"),
            description="Encodes a whole aging sequence as one batch, gliding between neighbouring ages. Sample it "
            "over a latent batch of the same count with one noise (Latent Batch Seed Behavior: fixed).",
            inputs=[
                io.Clip.Input("clip", tooltip="From Train Aging Subject or Load Aging Subject."),
                _age_widget("from_age", AGE_CLASSES[0], "The first age."),
                _age_widget("to_age", AGE_CLASSES[-1], "The last age, of the same kind."),
                io.Int.Input(
                    "steps",
                    default=6,
                    min=1,
                    max=4096,
                    tooltip="Pictures in the sequence. From child to old, 6 are the six age classes; more glide "
                    "between them.",
                ),
                *_prompt_widgets(),
            ],
            outputs=[
                io.Conditioning.Output(display_name="conditioning", tooltip="One entry for every age."),
                io.String.Output(
                    display_name="ages", tooltip="A label for every age, for the sheet.", is_output_list=True
                ),
                io.Int.Output(display_name="count", tooltip="For the batch size of the latents."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, from_age=None, to_age=None) -> bool | str:
        """Refuses what is no age, and two ages that are of two kinds."""
        for name, age in (("from_age", from_age), ("to_age", to_age)):
            if (said := blaming(name, sentence(parse_age, age))) is not True:
                return said
        return sentence(lambda first, last: age_sequence(parse_age(first), parse_age(last), 2), from_age, to_age)

    @classmethod
    def execute(cls, clip, from_age, to_age, steps, extra, template, token, class_word, subject=None) -> io.NodeOutput:
        """Encodes each age once and mixes neighbours linearly."""
        _require(clip)
        sequence = age_sequence(parse_age(from_age), parse_age(to_age), steps)
        prompts = {
            age: _prompt(age, extra, template, token, class_word, subject)
            for age in {age for place in sequence for age in (place.age, place.following)}
        }
        _warn_without_age(cls, template)
        encoded = _encode_alike(clip, prompts)

        def mixed(name: str) -> torch.Tensor:
            return torch.cat(
                [encoded[place.age][name].lerp(encoded[place.following][name], place.part) for place in sequence]
            )

        first, extras = encoded[sequence[0].age], {}
        if first.get("pooled_output") is not None:
            extras["pooled_output"] = mixed("pooled_output")
        if first.get("attention_mask") is not None:
            extras["attention_mask"] = torch.cat(
                [
                    torch.maximum(
                        encoded[place.age]["attention_mask"],
                        encoded[place.following if place.part else place.age]["attention_mask"],
                    )
                    for place in sequence
                ]
            )
        return io.NodeOutput([[mixed("cond"), extras]], [str(place) for place in sequence], steps)


def _encode_alike(clip, prompts: dict[Any, str]) -> dict[Any, dict[str, Any]]:
    """Each prompt encoded; where a text encoder has no fixed length, all padded to that of the longest."""
    tokens = {age: clip.tokenize(prompt) for age, prompt in prompts.items()}
    lengths = {
        tower: {max(map(len, chunks[tower])) for chunks in tokens.values()} for tower in next(iter(tokens.values()))
    }
    if any(len(found) > 1 for found in lengths.values()):
        clip = clip.clone()
        for tower, found in lengths.items():
            if len(found) > 1:
                clip.set_tokenizer_option(f"{tower}_min_length", max(found))
        tokens = {age: clip.tokenize(prompt) for age, prompt in prompts.items()}
    encoded = {age: clip.encode_from_tokens(each, return_dict=True) for age, each in tokens.items()}
    masks = [output.get("attention_mask") for output in encoded.values()]
    if any(mask is not None for mask in masks):  # encoders leave a mask out that hides nothing
        for output in encoded.values():
            if output.get("attention_mask") is None:
                output["attention_mask"] = torch.ones(output["cond"].shape[:2], dtype=torch.long)
    if len({output["cond"].shape for output in encoded.values()}) > 1:
        raise UserError("With this extra text some ages need more tokens than others. Shorten it.")
    return encoded


class EditPrompts(io.ComfyNode):
    """Instructions for an edit model, one for each age and candidate, as lists."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingEditPrompts",
            display_name="Age Edit Prompts",
            category=CATEGORY,
            **search_aliases("age edit", "kontext aging", "qwen image edit", "flux 2 klein"),
            description="Writes, for a model that edits a given photo, what to change at each age and what to keep. "
            "The lists go into any text encoder and noise: every age from the same noise, each candidate from another.",
            inputs=[
                io.String.Input(
                    "ages",
                    default="all",
                    tooltip="all: the six age classes. Or a list of classes and years: child, 45.",
                ),
                io.Int.Input("candidates", default=1, min=1, max=64, tooltip="How often all ages come in turn."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=True,
                    tooltip="Noise of the first candidates; each further one has the next seed.",
                ),
                io.String.Input(
                    "words",
                    default=edit_words_text(),
                    multiline=True,
                    tooltip="What each age class looks like, in a line of its own. After the second colon, what age "
                    "changes; for an age in years only that is used.",
                ),
                SubjectSocket.Input(
                    "subject", optional=True, tooltip="A subject trained on the edit model: its token and class word."
                ),
                advanced(
                    io.String.Input(
                        "template",
                        default=EDIT_PROMPT,
                        multiline=True,
                        tooltip="The instruction. The names in braces are filled in; the token is a wired subject's.",
                    )
                ),
                advanced(
                    io.String.Input(
                        "class_word", default="person", tooltip="person, man, woman ...; a wired subject overrules it."
                    )
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="prompts",
                    tooltip="An instruction for each age, all ages in turn.",
                    is_output_list=True,
                ),
                io.String.Output(
                    display_name="ages", tooltip="A label for each, for sheet, report and pick.", is_output_list=True
                ),
                io.Int.Output(
                    display_name="seeds",
                    tooltip="The seed for each: one for all ages of a candidate.",
                    is_output_list=True,
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, ages=None) -> bool | str:
        """Refuses what are no ages; words and template are read when it runs, else ages were blamed for them too."""
        return sentence(parse_ages, ages)

    @classmethod
    def execute(cls, ages, candidates, seed, words, template, class_word, subject=None) -> io.NodeOutput:
        """No model is needed."""
        known, table, token = parse_ages(ages), read_edit_words(words), ""
        _warn_without_age(cls, template)
        if subject:
            token, class_word = subject.header.token, subject.header.class_word
        prompts = [edit_prompt(age, table, template, token, class_word) for age in known]
        seeds = [(seed + candidate) % (MAX_SEED + 1) for candidate in range(candidates) for _ in known]
        return io.NodeOutput(prompts * candidates, [display_name(age) for age in known] * candidates, seeds)
