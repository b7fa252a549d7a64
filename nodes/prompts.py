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
    with_extra,
)
from ..training.config import MAX_SEED
from ..training.edits import EDIT_PROMPT, edit_prompt, edit_words_text, read_edit_words
from ..training.errors import InvalidSetting, MissingInput
from .ui.checks import blame_only, sentence
from .ui.progress import warn
from .ui.sockets import CATEGORY, SubjectSocket, TrainedSubject, advanced, search_aliases

AGES = [*AGE_CLASSES, *map(str, range(MAX_AGE + 1))]


def _age_widget(name: str, default: str, tooltip: str) -> io.Input:
    """A list of age classes and years. Numbers and text can be connected too, as older graphs do."""
    help = f"{tooltip} An age class or an age in years; you can also connect a number or text."
    return io.MultiType.Input(io.Combo.Input(name, options=AGES, default=default, tooltip=help), [io.String, io.Int])


def _prompt_widgets() -> list[io.Input]:
    return [
        io.String.Input(
            "extra",
            default="",
            multiline=True,
            tooltip="Text to add to the prompt, after a comma: place, light, clothes. Parentheses weigh words, as in "
            "CLIP Text Encode: (smiling:1.2).",
        ),
        SubjectSocket.Input("subject", optional=True, tooltip="Provides the token and the class word."),
        advanced(
            io.String.Input(
                "template",
                default=SAMPLING_PROMPT,
                tooltip="The prompt. Names in braces are replaced by their values.",
            )
        ),
        advanced(
            io.String.Input(
                "token", default="sks", tooltip="The subject's rare token. Ignored if a subject is connected."
            )
        ),
        advanced(
            io.String.Input(
                "class_word", default="person", tooltip="person, man, woman ... Ignored if a subject is connected."
            )
        ),
    ]


def _prompt(
    age: str | int, extra: str, template: str, token: str, class_word: str, subject: TrainedSubject | None
) -> str:
    if subject:
        token, class_word = subject.header.token, subject.header.class_word
    return with_extra(fill_prompt(template, token=token, class_word=class_word, age=age), extra)


def _warn_without_age(node: type[io.ComfyNode], template: str) -> None:
    if "{age}" not in template:
        message = f"The template '{template}' does not contain {{age}}, so every age gets the same prompt."
        warn(node.hidden.unique_id, [message])


def _require(clip) -> None:
    if clip is None:
        raise MissingInput(
            "clip is empty: the loaded file has no CLIP. Load one with Load CLIP or from a full checkpoint."
        )


class PromptEncode(io.ComfyNode):
    """Writes and encodes the prompt for one age."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingPromptEncode",
            display_name="Age Prompt Encode",
            category=CATEGORY,
            **search_aliases("age prompt", "aging prompt", "clip text encode"),
            description="Writes and encodes the prompt for the subject at one age.",
            inputs=[
                io.Clip.Input("clip", tooltip="From Train Aging Subject or Load Aging Subject."),
                _age_widget("age", "elderly", "The age to generate."),
                *_prompt_widgets(),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="The encoded prompt. Connect to positive of KSampler."
                ),
                io.String.Output(display_name="prompt", tooltip="The prompt that was encoded."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, age=None) -> bool | str:
        """Rejects a value that is not an age."""
        return sentence(parse_age, age)

    @classmethod
    def execute(cls, clip, age, extra, template, token, class_word, subject=None) -> io.NodeOutput:
        """Encodes the filled-in prompt as ComfyUI's CLIP Text Encode does."""
        _require(clip)
        _warn_without_age(cls, template)
        prompt = _prompt(parse_age(age), extra, template, token, class_word, subject)
        return io.NodeOutput(clip.encode_from_tokens_scheduled(clip.tokenize(prompt)), prompt)


class SequenceEncode(io.ComfyNode):
    """Encodes the prompts from one age to another as one batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingSequenceEncode",
            display_name="Age Sequence Encode",
            category=CATEGORY,
            **search_aliases("age progression", "aging sequence", "age slider"),
            description="Encodes a whole aging sequence as one batch, with smooth transitions between ages. Sample it "
            "with a latent batch of the same count and the same noise (Latent Batch Seed Behavior: fixed).",
            inputs=[
                io.Clip.Input("clip", tooltip="From Train Aging Subject or Load Aging Subject."),
                _age_widget("from_age", AGE_CLASSES[0], "The first age."),
                _age_widget(
                    "to_age",
                    AGE_CLASSES[-1],
                    "The last age, of the same type as from_age.",
                ),
                io.Int.Input(
                    "steps",
                    default=6,
                    min=1,
                    max=4096,
                    tooltip="Number of images in the sequence. From child to old, 6 gives the six age classes; more "
                    "adds steps in between.",
                ),
                *_prompt_widgets(),
            ],
            outputs=[
                io.Conditioning.Output(display_name="conditioning", tooltip="One entry per image."),
                io.String.Output(
                    display_name="ages", tooltip="One label per image, for the contact sheet.", is_output_list=True
                ),
                io.Int.Output(
                    display_name="count", tooltip="Number of images. Connect to batch_size of the empty latent."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, from_age=None, to_age=None) -> bool | str:
        """Rejects values that are not ages, and an age class paired with an age in years."""
        for name, age in (("from_age", from_age), ("to_age", to_age)):
            if (result := blame_only(name, sentence(parse_age, age))) is not True:
                return result
        return sentence(lambda first, last: age_sequence(parse_age(first), parse_age(last), 2), from_age, to_age)

    @classmethod
    def execute(cls, clip, from_age, to_age, steps, extra, template, token, class_word, subject=None) -> io.NodeOutput:
        """Encodes each age once and interpolates linearly between neighbouring ages."""
        _require(clip)
        sequence = age_sequence(parse_age(from_age), parse_age(to_age), steps)
        prompts = {
            age: _prompt(age, extra, template, token, class_word, subject)
            for age in {age for place in sequence for age in (place.age, place.following)}
        }
        _warn_without_age(cls, template)
        encoded = _encode_alike(clip, prompts)

        def interpolated(name: str) -> torch.Tensor:
            return torch.cat(
                [encoded[place.age][name].lerp(encoded[place.following][name], place.part) for place in sequence]
            )

        first, extras = encoded[sequence[0].age], {}
        if first.get("pooled_output") is not None:
            extras["pooled_output"] = interpolated("pooled_output")
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
        return io.NodeOutput([[interpolated("cond"), extras]], [str(place) for place in sequence], steps)


def _encode_alike(clip, prompts: dict[Any, str]) -> dict[Any, dict[str, Any]]:
    """Encodes each prompt. If the text encoder has no fixed length, pads all prompts to the longest one."""
    tokens = {age: clip.tokenize(prompt) for age, prompt in prompts.items()}
    lengths = {
        tower: {max(map(len, chunks[tower])) for chunks in tokens.values()} for tower in next(iter(tokens.values()))
    }
    if any(len(counts) > 1 for counts in lengths.values()):
        clip = clip.clone()
        for tower, counts in lengths.items():
            if len(counts) > 1:
                clip.set_tokenizer_option(f"{tower}_min_length", max(counts))
        tokens = {age: clip.tokenize(prompt) for age, prompt in prompts.items()}
    encoded = {age: clip.encode_from_tokens(chunks, return_dict=True) for age, chunks in tokens.items()}
    masks = [output.get("attention_mask") for output in encoded.values()]
    if any(mask is not None for mask in masks):  # encoders omit a mask that is all ones
        for output in encoded.values():
            if output.get("attention_mask") is None:
                output["attention_mask"] = torch.ones(output["cond"].shape[:2], dtype=torch.long)
    if len({output["cond"].shape for output in encoded.values()}) > 1:
        raise InvalidSetting("The text in extra is too long: some ages need more tokens than others. Shorten it.")
    return encoded


class EditPrompts(io.ComfyNode):
    """Writes instructions for an image editing model, one per age and candidate."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingEditPrompts",
            display_name="Age Edit Prompts",
            category=CATEGORY,
            **search_aliases("age edit", "kontext aging", "qwen image edit", "flux 2 klein"),
            description="Writes one instruction per age for a model that edits photos: what to change and what to "
            "keep. Connect the lists to any text encoder and noise. All ages of a candidate share a seed.",
            inputs=[
                io.String.Input(
                    "ages",
                    default="all",
                    tooltip="all for the six age classes, or a list of classes and years: child, 45.",
                ),
                io.Int.Input("candidates", default=1, min=1, max=64, tooltip="Number of images per age."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=True,
                    tooltip="Seed of the first candidate of every age. Each further candidate uses the next seed.",
                ),
                io.String.Input(
                    "words",
                    default=edit_words_text(),
                    multiline=True,
                    tooltip="One line per age class, saying how it looks. For an age in years, only the text after the "
                    "second colon is used.",
                ),
                SubjectSocket.Input(
                    "subject",
                    optional=True,
                    tooltip="A subject trained on the editing model. Provides its token and class word.",
                ),
                advanced(
                    io.String.Input(
                        "template",
                        default=EDIT_PROMPT,
                        multiline=True,
                        tooltip="The instruction. Names in braces are replaced by their values. The token comes from "
                        "the connected subject.",
                    )
                ),
                advanced(
                    io.String.Input(
                        "class_word",
                        default="person",
                        tooltip="person, man, woman ... Ignored if a subject is connected.",
                    )
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="prompts",
                    tooltip="One instruction per age, repeated for each candidate.",
                    is_output_list=True,
                ),
                io.String.Output(
                    display_name="ages",
                    tooltip="One label per instruction, for the contact sheet, Identity Report and Pick Best Per Age.",
                    is_output_list=True,
                ),
                io.Int.Output(
                    display_name="seeds",
                    tooltip="One seed per instruction; all ages of a candidate have the same seed.",
                    is_output_list=True,
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, ages=None) -> bool | str:
        """Rejects values that are not ages. Checking words and template here would mark ages for their errors too."""
        return sentence(parse_ages, ages)

    @classmethod
    def execute(cls, ages, candidates, seed, words, template, class_word, subject=None) -> io.NodeOutput:
        """Fills in the template per age, without a model."""
        wanted, table, token = parse_ages(ages), read_edit_words(words), ""
        _warn_without_age(cls, template)
        if subject:
            token, class_word = subject.header.token, subject.header.class_word
        prompts = [edit_prompt(age, table, template, token, class_word) for age in wanted]
        seeds = [(seed + candidate) % (MAX_SEED + 1) for candidate in range(candidates) for _ in wanted]
        return io.NodeOutput(prompts * candidates, [display_name(age) for age in wanted] * candidates, seeds)
