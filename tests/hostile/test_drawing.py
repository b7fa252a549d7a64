"""What is drawn is what was asked for; where it is not, a sentence says so."""

import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.parts import picture, tiny_trainer
from tests.tiny import tiny_checkpoint
from training.__main__ import main
from training.cli import generate
from training.models.stable_diffusion.families import SD1
from training.runs.files import write_subject

UP, DOWN = ".lora_up.weight", ".lora_down.weight"


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A folder with a checkpoint and a subject that was trained on it."""
    folder = tmp_path_factory.mktemp("studio")
    save_file(tiny_checkpoint(SD1), folder / "tiny.safetensors")
    trainer = tiny_trainer(max_train_steps=1)
    trainer.run()
    write_subject(trainer, folder / "anna.safetensors", torch.float32)
    return folder


def draw(studio, out, *options, subject="anna.safetensors"):
    known = ["--subject", str(studio / subject), "--checkpoint", str(studio / "tiny.safetensors"), "--out", str(out)]
    return main(["generate", *known, "--num-inference-steps", "1", "--ages", "child,45", *options])


def changed(studio, name, change):
    """A copy of the subject with other tensors."""
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


def of_another_kind(state):
    state[first(state, UP).replace(UP, ".dora_scale")] = torch.ones(1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (poisoned, r"damaged: 1 of \d+ numbers are not finite"),
        (lambda state: [state.pop(key) for key in list(state)], "0 layers"),
        (renamed, "layer lora_other_"),
        (partly_renamed, "layer lora_unet_elsewhere"),
        (halved, r"1 tensors .* lora_unet_\S+\.lora_up\.weight"),
        (of_another_kind, r"1 tensors .* lora_unet_\S+\.dora_scale"),
    ],
    ids=["nan", "empty", "no layer", "some layers", "half a layer", "another kind"],
)
def test_a_lora_that_is_not_wholly_used_is_refused(studio, tmp_path, change, sentence, capsys):
    subject = changed(studio, "changed.safetensors", change)
    assert draw(studio, tmp_path / "out", subject=subject) == 2
    said = capsys.readouterr().err
    assert re.search(sentence, said) and "Traceback" not in said, said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--lora-strength", "nan"], "lora_strength is nan"),
        (["--lora-strength", "inf"], "lora_strength is inf"),
        (["--guidance-scale", "nan"], "guidance_scale is nan"),
        (["--ages", ""], "''"),
        (["--ages", ","], "','"),
        (["--ages", "child,children"], " child more than once"),
        (["--ages", "45,45-year-old"], " 45 years more than once"),
        (["--prompt", "{age:d}"], "{age:d}"),
        (["--prompt", "{age:>2000000000}"], "{age:>2000000000}"),
    ],
)
def test_what_cannot_be_drawn_is_refused(studio, tmp_path, options, sentence, capsys):
    assert draw(studio, tmp_path / "out", *options) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_second_call_says_what_it_replaces_and_what_else_lies_there(studio, tmp_path, capsys):
    out = tmp_path / "out"
    assert draw(studio, out) == 0
    said = capsys.readouterr().out
    assert "Replaced" not in said and "also holds" not in said
    picture(0).save(out / "elderly.png")
    assert draw(studio, out, "--seed", "1", "--ages", "child,8") == 0
    said = capsys.readouterr().out
    assert f"Replaced: child.png, {out}.png." in said
    assert f"{out} also holds 2 earlier pictures, which stay: 45-year-old.png, elderly.png." in said
    assert {path.name for path in out.iterdir()} == {"child.png", "8-year-old.png", "45-year-old.png", "elderly.png"}


def test_pictures_of_one_colour_are_noticed(studio, tmp_path, capsys, monkeypatch):
    def black(count):
        def sample(*arguments):
            pixels = torch.rand(2, 3, 64, 64)
            pixels[:count] = float("nan")
            return pixels

        return sample

    monkeypatch.setattr(generate, "sample", black(1))
    assert draw(studio, tmp_path / "one") == 0
    assert "One colour all over: child." in capsys.readouterr().err
    monkeypatch.setattr(generate, "sample", black(2))
    assert draw(studio, tmp_path / "both") == 2
    assert "none is written" in capsys.readouterr().err
    assert not (tmp_path / "both").exists()
