"""One training run from its parts to the subject on disk; the command line and the nodes both call this."""

from collections.abc import Iterable
from pathlib import Path

import torch

from .batches import TrainingData, latent_window
from .checkpoint import Model
from .config import TrainingConfig
from .dataset import RegularizationSet, SubjectSet
from .embedder import FaceEmbedder
from .errors import UserError
from .faces import FaceDetector
from .files import digest
from .identity import FaceReader
from .subject import Subject, describe, save_subject
from .trainer import Callback, Trainer
from .vae import LatentCodec


def build_trainer(
    model: Model,
    subject: SubjectSet,
    regularization: RegularizationSet | None,
    config: TrainingConfig,
    state_file: Path | None = None,
    embedder: FaceEmbedder | None = None,
    detector: FaceDetector | None = None,
    tiny_vae: LatentCodec | None = None,
    extra_prompts: Iterable[str] = (),
    cpu: bool = False,
) -> Trainer:
    """A trainer on the best device, everything moved there; ``cpu`` leaves a GPU alone.

    ``tiny_vae`` decodes faces instead of the model's own VAE; ``extra_prompts`` are those that previews will ask for.
    Raises UserError for settings that do not fit the data.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    views = 2 * config.train_batch_size if regularization else config.train_batch_size
    if config.loss == "contrastive" and views < 2:
        raise UserError(
            "The contrastive loss compares the pictures of a batch with each other and needs two or more: raise "
            "train_batch_size, or give a regularization set."
        )
    inputs = {
        "model": model.sha256,
        "text encoder": digest(model.denoiser.text.state_dict()),
        "VAE": digest(model.codec.state_dict()),
        "tiny VAE": digest(tiny_vae.state_dict()) if tiny_vae else "",
    }
    precision = config.mixed_precision or ("no" if cpu else _best_precision())
    # Else a second run in one process could have neither another precision nor another device.
    AcceleratorState._reset_state(reset_partial_state=cpu)
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=precision,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        # SDXL's text towers end in layers that it never reads
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=config.trains_text_encoder)],
    )
    device = accelerator.device
    if config.method == "lora" and precision != "no":
        model.denoiser.unet.to(torch.bfloat16 if precision == "bf16" else torch.float16)
    decoder = tiny_vae or model.codec
    model.denoiser.unet.to(memory_format=torch.channels_last)  # the fastest layout for convolutions, on GPU and CPU
    for codec in (model.codec, decoder):
        codec.to(device).to(memory_format=torch.channels_last)
    embedder = embedder.to(device) if embedder else None
    resolution = config.resolution or model.resolution
    data = TrainingData(subject, regularization, config, resolution, model.codec, embedder, detector, device)
    reader = None
    if data.identity:
        window = latent_window(data.face_squares, resolution // 8)
        reader = FaceReader(decoder, embedder, window, bf16=precision == "bf16")
    inputs |= {"pictures": data.fingerprint(), "matcher": embedder.name if data.identity else ""}
    return Trainer(model, data, config, accelerator, state_file, inputs, reader, extra_prompts)


def train_subject(
    trainer: Trainer, path: Path, dtype: torch.dtype, callbacks: Iterable[Callback] = (), keep_state: bool = False
) -> Subject:
    """Runs ``trainer`` to its end and writes the subject to ``path``.

    The state for resuming is then deleted; with ``keep_state`` it stays, so that a longer run can go on from there.

    What ends a run early (StopTraining, TrainingDiverged, out of memory) leaves this function with the state saved.
    """
    trainer.run(callbacks)
    return save_trained(trainer, path, dtype, keep_state)


def save_trained(trainer: Trainer, path: Path, dtype: torch.dtype, keep_state: bool = False) -> Subject:
    """Writes what ``trainer`` has trained so far to ``path``, as train_subject does after the last step."""
    subject = describe(trainer.model, trainer.config, trainer.step_number, trainer.data.resolution)
    if trainer.accelerator.is_main_process:
        save_subject(path, trainer.model, subject, trainer.config.lora_alpha, dtype)
        if keep_state:
            trainer.save_state()
        else:
            trainer.state_file.unlink(missing_ok=True)
    trainer.accelerator.wait_for_everyone()
    return subject


def _best_precision() -> str:
    return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
