"""Widgets for the training settings, built from the same TrainingConfig that the command line uses."""

from typing import Any

from comfy_api.latest import io

from ...training.config import IDENTITY_LOSSES, LATENT_LOSSES, PHOTO_SETTINGS, REWARD_SETTINGS, TrainingConfig
from ...training.errors import InvalidSetting
from ...training.options import Option, options_of
from .sockets import advanced, frontend_options

AUTO = "auto"

# Setting: label on the node. Always visible; the others are advanced.
SHOWN = {
    "method": "method",
    "max_train_steps": "steps",
    "loss": "identity loss",
    "loss_weight": "identity strength",
    "class_word": "class word",
}
ADVANCED = (
    "token",
    "resolution",
    "learning_rate",
    "rank",
    "lora_layers",
    "train_text_encoder",
    "train_batch_size",
    "gradient_accumulation_steps",
    "prior_loss_weight",
    "temperature",
    "triplet_margin",
    "lr_scheduler",
    "crop",
    "face_margin",
    "random_flip",
    "gradient_checkpointing",
    "use_8bit_adam",
    "mixed_precision",
    "checkpointing_steps",
    "seed",
)
# Saved graphs store widget values by position and need every required input, so newer settings are optional and last.
LATER = ("timestep_sampling", *PHOTO_SETTINGS, *REWARD_SETTINGS)
# Defaults that differ from the command line: training fits in 8 GB, and a server crash loses little work.
DEFAULTS = {"gradient_checkpointing": True, "checkpointing_steps": 100}
HIGHEST = {"max_train_steps": 100_000, "rank": 256}
STEPS = {"loss_weight": 0.01, "temperature": 0.05}
RATE_LINKS = [io.Float, io.String]  # types that can be connected to a list of rates
RATES = ("1e-6", "2.5e-6", "5e-6", "1e-5", "2.5e-5", "5e-5", "1e-4", "2.5e-4", "5e-4", "1e-3")
# Settings that only apply to certain values of another one; web/identity_aging.js hides them otherwise. A DynamicCombo
# would change their names and positions and so break saved graphs.
ONLY_WITH = {
    "rank": {"method": ["lora"]},
    "lora_layers": {"method": ["lora"]},
    "loss_weight": {"loss": [*IDENTITY_LOSSES, *LATENT_LOSSES]},
    "temperature": {"loss": ["contrastive"]},
    "triplet_margin": {"loss": ["triplet"]},
    "face_margin": {"crop": ["face"]},
    **{name: {REWARD_SETTINGS[0]: True} for name in REWARD_SETTINGS[1:]},  # any number but 0
}


def setting_widgets() -> list[io.Input]:
    """The widgets for the basic settings, then for the advanced ones."""
    return [_setting_input(name, label) for name, label in SHOWN.items()] + _advanced(ADVANCED)


def later_widgets() -> list[io.Input]:
    """The widgets that come after all others on the node."""
    return _advanced(LATER, optional=True)


def config_of(widgets: dict[str, Any]) -> TrainingConfig:
    """Converts widget values to a TrainingConfig. Raises UserError if a value is not allowed."""
    values: dict[str, Any] = {}
    for option in options_of(TrainingConfig):
        if option.name not in widgets:
            continue
        value = widgets[option.name]
        if option.optional and value in (0, AUTO):
            value = None
        elif option.kind is bool and isinstance(value, str):
            value = value == "on"
        elif option.kind is float or (option.kind is int and isinstance(value, str)):
            value = _number(option, value)
        elif option.many:
            value = tuple(value.split(" + "))
        values[option.name] = value
    return TrainingConfig(**values)


def _number(option: Option, value: Any) -> float:
    """Converts a number, which may be text from its list or a link. Raises UserError if it is none."""
    try:
        return int(value) if option.kind is int else float(value)
    except ValueError as error:
        example = RATES[0] if option.kind is float else option.low
        raise InvalidSetting(f"{option.name} is '{value}'; use {AUTO} or a number such as {example}.") from error


def _advanced(names: tuple[str, ...], **more: Any) -> list[io.Input]:
    return [advanced(_setting_input(name, name.replace("_", " "), **more)) for name in names]


def _setting_input(name: str, label: str, **more: Any) -> io.Input:
    (option,) = (option for option in options_of(TrainingConfig) if option.name == name)
    widget = _widget(option, label, **more)
    return frontend_options(widget, only_with=ONLY_WITH[name]) if name in ONLY_WITH else widget


def _widget(option: Option, label: str, **more: Any) -> io.Input:
    """Returns the widget for an option. If the option may be None, "auto" stands for None."""
    name, kind, optional = option.name, option.kind, option.optional
    default = DEFAULTS.get(name, option.default)
    help = option.help[0].upper() + option.help[1:]
    shared = {"display_name": label, "tooltip": help if help.endswith(".") else f"{help}.", **more}
    if kind is bool and optional:
        return io.Combo.Input(name, options=[AUTO, "on", "off"], default=AUTO, **shared)
    if kind is bool:
        return io.Boolean.Input(name, default=default, **shared)
    if option.many and option.choices:
        combinations = [" + ".join(option.choices[: count + 1]) for count in range(len(option.choices))]
        return io.Combo.Input(name, options=combinations, default=" + ".join(default), **shared)
    if option.choices:
        auto = [AUTO] if optional else []
        return io.Combo.Input(name, options=[*auto, *option.choices], default=default or AUTO, **shared)
    if kind is str:
        return io.String.Input(name, default=default, **shared)
    if optional:  # a number widget would show 1e-6 as 0.0000010, and the default as 0
        shared["tooltip"] += f" {AUTO} uses the default; you can also connect a number."
        numbers, links = (RATES, RATE_LINKS) if kind is float else (_multiples(option), [io.Int])
        return io.MultiType.Input(io.Combo.Input(name, options=[AUTO, *numbers], default=AUTO, **shared), links)
    if kind is int:
        if name == "seed":  # otherwise the front end picks a new seed, and retrains, each time a graph is queued
            shared["control_after_generate"] = False
        high = option.high or HIGHEST.get(name, 10_000)
        return io.Int.Input(name, default=default, min=option.low, max=high, step=STEPS.get(name, 1), **shared)
    return io.Float.Input(
        name, default=default, min=option.low, max=option.high or 100.0, step=STEPS.get(name, 0.05), **shared
    )


def _multiples(option: Option) -> tuple[str, ...]:
    """All numbers that the option allows."""
    assert option.low and option.high and option.multiple
    return tuple(map(str, range(int(option.low), int(option.high) + 1, option.multiple)))
