"""The train command: from options to a subject in its folder."""

import csv
import json
import signal
from pathlib import Path

import torch

from .commands import RUN_FILE
from .config import TrainingConfig
from .errors import UserError
from .files import written

STATE_FILE, LOSSES_FILE, CURVES_FILE = "training-state.pt", "losses.csv", "curves.png"
LOOKS = "looks"  # the folder of their sheets


def train(
    checkpoint: Path,
    subject: Path,
    regularization: Path | None,
    out: Path,
    resume: bool,
    tiny_vae: Path | None,
    prediction_type: str | None,
    save_precision: str,
    embedder: str,
    embedder_weights: Path | None,
    download: bool,
    judge: str | None,
    look_every: int,
    patience: int,
    age_estimator: str | None,
    **options,
) -> int:
    """Trains a subject into the folder ``out``."""
    if not judge and (patience or age_estimator):
        raise UserError("--patience and --age-estimator are for looks while training: say who looks with --judge.")
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    config = TrainingConfig(**options)
    target, state_file = out / f"{out.name}.safetensors", out / STATE_FILE
    if target.exists():
        raise UserError(f"{out} already holds a finished subject. Give another --out, or delete that folder first.")
    if state_file.exists() and not resume:
        raise UserError(f"{out} holds an unfinished run. Add --resume to go on with it, or delete that folder first.")
    if resume and not state_file.exists():
        raise UserError(f"There is nothing to resume: {state_file} does not exist. Leave --resume out to start anew.")

    from accelerate import PartialState
    from tqdm import tqdm

    from .checkpoint import open_model, open_tiny_vae
    from .dataset import find_faces, read_regularization_set
    from .embedder import DRAWN, load_embedder
    from .faces import MTCNNDetector
    from .losses import IDENTITY_LOSSES
    from .photos import read_folder
    from .previews import preview_prompts
    from .run import build_trainer, train_subject
    from .subject import SAVE_PRECISIONS
    from .trainer import StopTraining

    processes = PartialState()
    main_process = processes.is_main_process
    say = print if main_process else lambda *_: None
    photos = read_folder(subject, "photos of the subject")
    ages = read_regularization_set(regularization) if regularization else None
    with processes.local_main_process_first():  # which downloads for all
        needed = config.loss in IDENTITY_LOSSES or embedder in DRAWN  # which know where drawn faces are
        network = load_embedder(embedder, embedder_weights, download) if needed else None
    detector = (network and network.detector) or MTCNNDetector()
    faces = find_faces(photos, detector)
    for line in faces.remarks:
        say(line)
    say(f"{len(photos)} photos, {sum(face is not None for face in faces.faces)} with a face")
    say(ages.report if ages else "No regularization set: plain fine-tuning, without prior preservation.")
    model = open_model(checkpoint, prediction_type)
    say(f"{model.name}: {model.family.name}, predicts {model.denoiser.prediction_type}")
    if config.loss in IDENTITY_LOSSES:
        say(f"identity loss: {config.loss}, {network.name}")
    tiny = open_tiny_vae(tiny_vae) if tiny_vae else None
    prompts = preview_prompts(config) if judge else ()
    trainer = build_trainer(model, faces, ages, config, state_file, network, detector, tiny, prompts)
    watcher = None
    if judge:
        with processes.local_main_process_first():
            looker = load_embedder(judge, embedder_weights, download)
        watcher = _watcher(trainer, faces, looker, age_estimator, look_every, patience, out)
    if resume:
        trainer.resume()
        say(f"resumed after step {trainer.step_number}")
    if watcher:
        watcher.open(out)
    if main_process:
        with written(out / RUN_FILE) as temporary:
            temporary.write_text(json.dumps({"checkpoint": str(checkpoint.resolve())}, indent=2))

    stopping = []
    before = signal.signal(signal.SIGINT, lambda *_: stopping.append(True))
    bar = tqdm(total=config.max_train_steps, initial=trainer.step_number, disable=not main_process, unit="step")

    def show(progress) -> None:
        bar.set_postfix({name: f"{value:.4f}" for name, value in progress.losses.items()}, refresh=False)
        bar.update()
        # Every process must leave at the same step, or the others wait for it forever.
        asked = torch.tensor(float(bool(stopping)), device=trainer.accelerator.device)
        if trainer.accelerator.reduce(asked) > 0:
            raise StopTraining

    try:
        callbacks = [show, watcher] if watcher else [show]
        train_subject(trainer, target, SAVE_PRECISIONS[save_precision], callbacks)
    except StopTraining:
        bar.close()
        say(f"Stopped after step {trainer.step_number}; the state is saved. Go on with the same command and --resume.")
        return 130
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"The GPU ran out of memory at step {trainer.step_number + 1}; the state before it is saved. Free the GPU, "
            "or add --gradient-checkpointing, and --resume. If that is not enough, lower --train-batch-size or "
            "--resolution and start anew."
        ) from error
    finally:
        bar.close()
        signal.signal(signal.SIGINT, before)
        if main_process:
            _write_losses(out / LOSSES_FILE, trainer.history)
    if watcher:
        watcher.close()
        if main_process:
            _tell_looks(watcher, out)
    say(f"Saved {target}. Draw it with: python -m training generate --subject {out} --out sheets/{out.name}")
    return 0


def _watcher(trainer, faces, embedder, age_estimator: str | None, every: int, patience: int, out: Path):
    """Looks at the training, with a sheet of each look under ``out``."""
    from .age_estimator import load_age_estimator
    from .faces import MTCNNDetector
    from .looks import Judge, look_sheet
    from .photos import save
    from .watcher import Watcher

    device = trainer.accelerator.device
    estimator = load_age_estimator(age_estimator) if age_estimator else None
    judge = Judge.of(faces, embedder.to(device), embedder.detector or MTCNNDetector(), estimator, device)

    def show(pictures, look) -> None:
        save(look_sheet(pictures, look), out / LOOKS / f"step_{look.step}.png")

    return Watcher(trainer, every, judge, patience, show)


def _tell_looks(watcher, out: Path) -> None:
    from .curves import curves
    from .looks import sentences
    from .photos import save
    from .watcher import step_file

    save(curves(watcher.trainer.history, watcher.looks), out / CURVES_FILE)
    for line in sentences(watcher.looks):
        print(line)
    print(f"The best is {step_file(out, watcher.best.step)}; sheets in {out / LOOKS}, curves in {out / CURVES_FILE}.")


def _write_losses(path: Path, history: list[dict[str, float]]) -> None:
    names = list(dict.fromkeys(name for losses in history for name in losses))
    with written(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", *names])
        writer.writeheader()
        writer.writerows({"step": step, **losses} for step, losses in enumerate(history, 1))
