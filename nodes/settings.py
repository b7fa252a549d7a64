"""Widgets for the settings of a training run, made from the one list that the command line reads too."""

from dataclasses import Field, fields

from comfy_api.latest import io

from ..training.config import TrainingConfig
from .sockets import advanced

AUTO = "auto"

# id: name on the node. These an artist sees; the rest is advanced.
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
# What suits a graph better than a command line: it fits 8 GB, and a crashed server loses little.
DEFAULTS = {"gradient_checkpointing": True, "checkpointing_steps": 100}
HIGHEST = {"seed": 2**64 - 1, "max_train_steps": 100_000, "rank": 256}
STEPS = {"resolution": 64, "learning_rate": 1e-7, "loss_weight": 0.01, "temperature": 0.05}


def setting_widgets() -> list[io.Input]:
    """The widgets, shown ones first."""
    options = {option.name: option for option in fields(TrainingConfig)}
    shown = [_widget(options[name], label) for name, label in SHOWN.items()]
    return shown + [advanced(_widget(options[name], name.replace("_", " "))) for name in ADVANCED]


def config_of(widgets: dict) -> TrainingConfig:
    """The settings that widget values mean. Raises UserError for one that makes no sense."""
    values = {}
    for option in fields(TrainingConfig):
        if option.name not in widgets:
            continue
        value = widgets[option.name]
        if "None" in str(option.type) and value in (0, AUTO):
            value = None
        elif "bool" in str(option.type) and isinstance(value, str):
            value = value == "on"
        elif "tuple" in str(option.type):
            value = tuple(value.split(" + "))
        values[option.name] = value
    return TrainingConfig(**values)


def _widget(option: Field, label: str) -> io.Input:
    """A widget for one field; where the field may be None, 0 or "auto" stands for that."""
    name, kind, limits = option.name, str(option.type), option.metadata
    default = DEFAULTS.get(name, option.default)
    tooltip = limits["help"][0].upper() + limits["help"][1:] + "."
    optional = "None" in kind
    shared = {"display_name": label, "tooltip": tooltip}
    if "bool" in kind and optional:
        return io.Combo.Input(name, options=[AUTO, "on", "off"], default=AUTO, **shared)
    if "bool" in kind:
        return io.Boolean.Input(name, default=default, **shared)
    if "tuple" in kind:
        growing = [" + ".join(limits["choices"][: count + 1]) for count in range(len(limits["choices"]))]
        return io.Combo.Input(name, options=growing, default=" + ".join(default), **shared)
    if "choices" in limits:
        auto = [AUTO] if optional else []
        return io.Combo.Input(name, options=[*auto, *limits["choices"]], default=default or AUTO, **shared)
    if "str" in kind:
        return io.String.Input(name, default=default, **shared)
    if optional:
        shared["tooltip"] += " 0 means that default."
    low = 0 if optional else limits["low"]
    if "int" in kind:
        if name == "seed":  # the front end would draw a new one, and train anew, each time a graph is queued
            shared["control_after_generate"] = False
        high = limits.get("high") or HIGHEST.get(name, 10_000)
        return io.Int.Input(name, default=default or 0, min=low, max=high, step=STEPS.get(name, 1), **shared)
    return io.Float.Input(name, default=default or 0.0, min=low, max=100.0, step=STEPS.get(name, 0.05), **shared)
