"""The generate command does what its options say, or refuses with an error."""

import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.hostile.results import assert_holds, assert_told
from tests.parts import picture, tiny_trainer
from tests.tiny import tiny_checkpoint
from training.__main__ import main
from training.cli import generate
from training.models.stable_diffusion.families import SD1
from training.runs.files import write_subject

UP, DOWN = ".lora_up.weight", ".lora_down.weight"


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A folder with a checkpoint and a subject trained on it."""
    folder = tmp_path_factory.mktemp("studio")
    save_file(tiny_checkpoint(SD1), folder / "tiny.safetensors")
    trainer = tiny_trainer(max_train_steps=1)
    trainer.run()
    write_subject(trainer, folder / "anna.safetensors", torch.float32)
    return folder


def run_generate(studio, out, *options, subject="anna.safetensors"):
    paths = ["--subject", str(studio / subject), "--checkpoint", str(studio / "tiny.safetensors"), "--out", str(out)]
    return main(["generate", *paths, "--num-inference-steps", "1", "--ages", "child,45", *options])


def changed(studio, name, change):
    """Writes a copy of the subject with its tensors changed and returns the file's name."""
    with safe_open(studio / "anna.safetensors", "pt") as file:
        metadata = file.metadata()
    state = load_file(studio / "anna.safetensors")
    change(state)
    save_file(state, studio / name, metadata=metadata)
    return name


def first(state, suffix):
    return min(key for key in state if key.endswith(suffix))


def poisoned(state):
    state[first(state, UP)][0, 0] = float("nan")


def renamed(state):
    for key in list(state):
        state[key.replace("lora_unet", "lora_other")] = state.pop(key)


def partly_renamed(state):
    layer = first(state, UP).removesuffix(UP)
    for key in [key for key in state if key.startswith(layer)]:
        state[key.replace(layer, "lora_unet_elsewhere")] = state.pop(key)


def halved(state):
    del state[first(state, UP)]


def with_dora(state):
    state[first(state, UP).replace(UP, ".dora_scale")] = torch.ones(1)


@pytest.mark.parametrize(
    ("change", "values"),
    [
        (poisoned, [re.compile(r"\b1 of \d+")]),
        (lambda state: [state.pop(key) for key in list(state)], [0]),
        (renamed, ["lora_other_"]),
        (partly_renamed, ["lora_unet_elsewhere"]),
        (halved, [1, re.compile(r"lora_unet_\S+\.lora_up\.weight")]),
        (with_dora, [1, re.compile(r"lora_unet_\S+\.dora_scale")]),
    ],
    ids=["nan", "empty", "no layer", "some layers", "half a layer", "DoRA"],
)
def test_a_lora_that_cannot_be_used_completely_is_refused(studio, tmp_path, change, values, capsys):
    subject = changed(studio, "changed.safetensors", change)
    assert run_generate(studio, tmp_path / "out", subject=subject) == 2
    assert_told(capsys.readouterr().err, "LoRA", *values)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (["--lora-strength", "nan"], ["lora_strength", "nan"]),
        (["--lora-strength", "inf"], ["lora_strength", "inf"]),
        (["--guidance-scale", "nan"], ["guidance_scale", "nan"]),
        (["--ages", ""], ["''", "youngadults"]),
        (["--ages", ","], ["','", "youngadults"]),
        (["--ages", "child,children"], ["'child,children'"]),
        (["--ages", "45,45-year-old"], ["'45,45-year-old'", re.compile("45 years")]),
        (["--prompt", "{age:d}"], ["{age:d}", "{token}", "{class_word}"]),
        (["--prompt", "{age:>2000000000}"], ["{age:>2000000000}", "{token}", "{class_word}"]),
    ],
)
def test_unusable_options_are_refused(studio, tmp_path, options, values, capsys):
    assert run_generate(studio, tmp_path / "out", *options) == 2
    assert_told(capsys.readouterr().err, *values)
    assert not (tmp_path / "out").exists()


def test_a_second_call_lists_replaced_and_remaining_images(studio, tmp_path, capsys):
    out = tmp_path / "out"
    assert run_generate(studio, out) == 0
    printed = capsys.readouterr().out
    assert "child.png" not in printed and "45-year-old.png" not in printed, "the first call replaces nothing"
    picture(0).save(out / "elderly.png")
    assert run_generate(studio, out, "--seed", "1", "--ages", "child,8") == 0
    replaced, remaining = capsys.readouterr().out.splitlines()[-2:]
    assert "child.png" in replaced and f"{out}.png" in replaced and "8-year-old.png" not in replaced
    assert_holds(remaining, out, 2, "45-year-old.png, elderly.png")
    assert "child.png" not in remaining
    assert {path.name for path in out.iterdir()} == {"child.png", "8-year-old.png", "45-year-old.png", "elderly.png"}


def test_images_of_one_colour_are_reported(studio, tmp_path, capsys, monkeypatch):
    def sample_with_black(count):
        def sample(*arguments):
            pixels = torch.rand(2, 3, 64, 64)
            pixels[:count] = float("nan")
            return pixels

        return sample

    monkeypatch.setattr(generate, "sample", sample_with_black(1))
    assert run_generate(studio, tmp_path / "one") == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "Warning: " in line]
    assert_holds(warning, "child", "--guidance-scale", "--lora-strength")
    assert "45" not in warning, "the other image is in order"
    monkeypatch.setattr(generate, "sample", sample_with_black(2))
    assert run_generate(studio, tmp_path / "both") == 2
    assert_told(capsys.readouterr().err, "--guidance-scale", "--lora-strength")
    assert not (tmp_path / "both").exists()
