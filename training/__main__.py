"""The command line: python -m training {train, generate, score, bench, world, demo, study}."""

import argparse
import logging
import sys
import warnings
from dataclasses import fields
from pathlib import Path

from . import commands
from .ages import SAMPLING_PROMPT
from .config import TrainingConfig
from .dataset import CAPTION_RULE
from .embedder import EMBEDDERS
from .errors import UserError
from .previews import LOOK_EVERY
from .sampler import PRESETS
from .subject import SAVE_PRECISIONS
from .train import train as train_subject

AGE_ESTIMATORS = "a folder with a CLIP as transformers saves it, or drawn-age for faces drawn by program"


def _option(
    parser: argparse.ArgumentParser, flag: str, help: str, default=None, required: bool = False, **kwargs
) -> None:
    """One option, with its default shown where it has one."""
    shown = ", ".join(default) if isinstance(default, list) else default
    suffix = "" if default is None or default == "" else f" (default: {shown})"
    parser.add_argument(flag, help=(help + suffix).replace("%", "%%"), default=default, required=required, **kwargs)


def _switch(parser: argparse.ArgumentParser, flag: str, help: str) -> None:
    parser.add_argument(flag, help=help, action="store_true")


def _add_config(parser: argparse.ArgumentParser) -> None:
    """An option for every field of TrainingConfig."""
    for field in fields(TrainingConfig):
        flag, help, kind = "--" + field.name.replace("_", "-"), field.metadata["help"], str(field.type)
        choices = field.metadata.get("choices")
        if "bool" in kind:
            state = "" if field.default is None else f" (default: {'on' if field.default else 'off'})"
            action = argparse.BooleanOptionalAction
            parser.add_argument(flag, help=help + state, action=action, default=argparse.SUPPRESS)
        elif "tuple" in kind:
            _option(parser, flag, help, list(field.default), nargs="+", choices=choices)
        else:
            number = int if "int" in kind else float if "float" in kind else str
            _option(parser, flag, help, field.default, type=number, choices=choices)


def _add_embedder(parser: argparse.ArgumentParser, default: str) -> None:
    _option(
        parser,
        "--embedder",
        "FaceNet by its training data; drawn-loss and drawn-score are for drawn faces, untrained for tests",
        default,
        choices=EMBEDDERS,
    )
    _option(parser, "--embedder-weights", "folder of the FaceNet weights, by default facenet-pytorch's own", type=Path)
    _switch(parser, "--download", "fetch missing FaceNet weights into that folder")


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    root = argparse.ArgumentParser("python -m training", description="Train one person, draw six ages, score identity.")
    commands_ = root.add_subparsers(required=True, metavar="command")

    train = commands_.add_parser("train", help="train a subject from photos", allow_abbrev=False)
    train.set_defaults(command=train_subject)
    _option(train, "--checkpoint", "Stable Diffusion 1.x, 2.x or SDXL: .safetensors, .ckpt or diffusers folder",
            type=Path, required=True)  # fmt: skip
    _option(train, "--subject", "folder with 3-30 photos of one person (jpg, png, webp)", type=Path, required=True)
    _option(train, "--regularization", f"folder of age-captioned faces; the age class is {CAPTION_RULE}. Without it: "
            "plain fine-tuning, no prior preservation", type=Path)  # fmt: skip
    _option(train, "--out", "folder of the trained subject, such as subjects/anna", type=Path, required=True)
    _switch(train, "--resume", "go on from the state saved in --out")
    _option(train, "--tiny-vae", "AutoencoderTiny (TAESD) that decodes faces for the identity loss: faster", type=Path)
    _option(train, "--prediction-type", "what the model predicts, where its weights mislead",
            choices=("epsilon", "v_prediction"))  # fmt: skip
    _option(train, "--save-precision", "number format of the subject file", "fp16", choices=tuple(SAVE_PRECISIONS))
    _add_embedder(train, "vggface2")
    _option(train, "--judge", "draw the six ages now and then, have this embedder say how alike they are, and keep "
            "the best step beside the last; not that of the identity loss, or it flatters",
            choices=EMBEDDERS)  # fmt: skip
    _option(train, "--look-every", "steps between the looks of --judge; one takes as long as 20 steps",
            LOOK_EVERY, type=int)  # fmt: skip
    _option(train, "--patience", "stop when neither identity nor age is better in this many looks of --judge; 0: never",
            0, type=int)  # fmt: skip
    _option(train, "--age-estimator", f"judges the ages for --judge: {AGE_ESTIMATORS}")
    _add_config(train)

    generate = commands_.add_parser("generate", help="draw the subject at several ages", allow_abbrev=False)
    generate.set_defaults(command=commands.generate)
    _option(generate, "--subject", "folder or file of the trained subject", type=Path, required=True)
    _option(
        generate, "--out", "folder for one image an age; the contact sheet goes beside it", type=Path, required=True
    )
    _option(generate, "--ages", "'all', or a comma-separated list of age classes and whole years", "all")
    _option(generate, "--seed", "seed of the one noise behind all ages", 0, type=int)
    _option(
        generate,
        "--checkpoint",
        "the model that a LoRA subject was trained on; by default where it was then",
        type=Path,
    )
    _option(generate, "--prompt", "template with {token}, {class_word} and {age}", SAMPLING_PROMPT)
    _option(generate, "--negative-prompt", "what the picture should not be", "")
    _option(generate, "--preset", "fast: DPM++ 2M, 25 steps, guidance 7.5; paper: DDIM, eta 0, 100 steps, guidance 10",
            "fast", choices=tuple(PRESETS))  # fmt: skip
    _option(generate, "--num-inference-steps", "sampling steps, instead of the preset's", type=int)
    _option(generate, "--guidance-scale", "guidance, instead of the preset's", type=float)
    _option(generate, "--lora-strength", "how much of a LoRA is used", 1.0, type=float)
    _option(generate, "--resolution", "side of the images, px, a multiple of 8; by default as trained", type=int)
    _option(generate, "--batch-size", "images drawn at once; more need more memory", 2, type=int)

    score = commands_.add_parser("score", help="score how well identity survived", allow_abbrev=False)
    score.set_defaults(command=commands.score)
    _option(score, "--reference", "folder with photos of the subject", type=Path, required=True)
    _option(score, "--images", "folder with the images to score", type=Path, required=True)
    _option(score, "--impostors", "folder with real photos of other people: non-mated comparisons, which FMR and FNMR "
            "need", type=Path)  # fmt: skip
    _option(score, "--regularization", "the age-captioned faces, which are other people too", type=Path)
    _option(score, "--untrained", "folder with what the base model draws without training, as a yardstick", type=Path)
    _option(score, "--photo-age", "the subject's age in the reference photos, years", type=int)
    _option(score, "--age-estimator", f"judges the ages: {AGE_ESTIMATORS}")
    _option(score, "--trained-with", "the embedder of the identity loss, for the record", choices=EMBEDDERS)
    _option(score, "--report", "file to write: .json, .csv, .html, or .png (one a plot); may be given several times",
            type=Path, action="append")  # fmt: skip
    _add_embedder(score, "casia-webface")

    bench = commands_.add_parser("bench", help="count and time what the identity loss costs", allow_abbrev=False)
    bench.set_defaults(command=commands.bench)
    _option(bench, "--resolution", "side of the pictures in the timing, px", 128, type=int)
    _option(bench, "--steps", "timed steps of each kind", 3, type=int)

    world = commands_.add_parser("world", help="write a small model and pictures to try everything with")
    world.set_defaults(command=commands.world)
    _option(world, "--export", "file for the base model, a Stable Diffusion 1.x checkpoint (.safetensors)", type=Path)
    _option(world, "--photos", "folder for a subject's photos and an age set, drawn by program", type=Path)
    _option(world, "--person", "another subject, by number from 0 to 499999", type=int)
    _option(world, "--years", "age of the subject in the photos", 28.0, type=float)

    demo = commands_.add_parser(
        "demo", help="train, draw and score a person who was drawn by program", allow_abbrev=False
    )
    demo.set_defaults(command=commands.demo)
    _option(demo, "--out", "folder for everything the demo writes", Path("demo"), type=Path)
    _option(demo, "--person", "another subject, by number from 0 to 499999", type=int)
    _option(demo, "--steps", "training steps", 100, type=int)

    study = commands_.add_parser("study", help="measure on drawn people what each loss does; goes on where it stopped")
    study.set_defaults(command=commands.study)
    _option(study, "--out", "folder for the table, the plots and the numbers", Path("study"), type=Path)
    _option(study, "--seeds", "runs of each way to train on each subject", 3, type=int)
    _switch(study, "--quick", "two subjects and three steps: only shows that it works")
    return root


def main(argv: list[str] | None = None) -> int:
    """Runs one command. 0: done; 2: the user's mistake, told in a sentence; 130: stopped by Ctrl-C, state saved."""
    for library in ("diffusers", "transformers", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", module=r"training\.")
    warnings.showwarning = lambda message, *_: print(f"Warning: {message}", file=sys.stderr)
    arguments = vars(parser().parse_args(argv))
    try:
        return arguments.pop("command")(**arguments)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the first step or after the last, where there is nothing to save
        print("Stopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
