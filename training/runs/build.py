"""A trainer out of its parts, and what names them: the command line, the nodes and the study all call this."""

from collections.abc import Iterable
from typing import Any

import torch

from ..config import TrainingConfig
from ..data.dataset import RegularizationSet, SubjectSet
from ..dreambooth.batches import DecodeProbability, TrainingData, latent_window
from ..dreambooth.face_reader import FaceReader
from ..dreambooth.losses import decode_probability
from ..dreambooth.reward import Judges, Reward
from ..dreambooth.trainer import Trainer
from ..errors import UserError
from ..faces.age_estimators import AgeEstimator, years_network
from ..faces.embedders import FaceEmbedder
from ..faces.find import FaceDetector
from ..models.interface import Codec, TrainableModel
from ..models.stable_diffusion.vae import LatentCodec
from ..pictures.photos import Bar
from ..weights import digest
from .looks import LookPlan
from .previews import preview_prompts


def build_trainer(
    model: TrainableModel,
    subject: SubjectSet,
    regularization: RegularizationSet | None,
    config: TrainingConfig,
    embedder: FaceEmbedder | None = None,
    detector: FaceDetector | None = None,
    tiny_vae: LatentCodec | None = None,
    looks: LookPlan | None = None,
    estimator: AgeEstimator | None = None,
    extra_prompts: Iterable[str] = (),
    cpu: bool = False,
    decode_probability: DecodeProbability = decode_probability,
    bar: Bar = iter,
) -> Trainer:
    """A trainer on the best device, everything moved there; ``cpu`` leaves a GPU alone.

    ``tiny_vae`` decodes faces instead of the model's own VAE. ``looks`` says that the six ages will be drawn on the
    way, ``extra_prompts`` what else may be. ``estimator`` tells the reward how old a drawn face looks.
    ``decode_probability`` of a timestep says how often an identity loss decodes there. ``bar`` shows the search for the
    faces of other people, which triplet needs. Raises UserError for settings that do not fit the data.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    views = 2 * config.train_batch_size if regularization else config.train_batch_size
    if config.loss == "contrastive" and views < 2:
        raise UserError(
            "The contrastive loss compares the pictures of a batch with each other and needs two or more: raise "
            "train_batch_size, or give a regularization set."
        )
    precision = config.mixed_precision or ("no" if cpu else _best_precision())
    inputs = model.inputs() | {
        "tiny VAE": digest(tiny_vae.state_dict()) if tiny_vae else "",
        "precision": precision,
        "looks": looks.key if looks else "",
    }
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
    inputs["processes"] = accelerator.num_processes
    model.denoiser.sample_timesteps(config.timestep_sampling)
    model.prepare(config, precision, device)
    decoder: Codec = tiny_vae.to(device).to(memory_format=torch.channels_last) if tiny_vae else model.codec
    embedder = embedder.to(device) if embedder else None
    resolution = config.resolution or model.resolution
    data = TrainingData(
        subject, regularization, config, resolution, model.codec, embedder, detector, device, decode_probability, bar
    )
    matcher = digest(embedder.state_dict()) if embedder and config.reads_faces else ""
    inputs |= _data_inputs(data, matcher)
    reader = None
    if data.reads_faces and embedder:
        longest = max(map(max, data.shapes))
        window = latent_window(data.face_squares, longest // decoder.factor, decoder.factor)
        reader = FaceReader(decoder, embedder, window, bf16=precision == "bf16")
    prompts = [*extra_prompts, *(preview_prompts(config) if looks else [])]
    reward = None
    if config.reward_every:
        judges = _judges(config, detector, embedder, estimator, device)
        reward = Reward(model, data, config, decoder, judges, bf16=precision == "bf16")
        inputs["reward"] = {
            "matcher": matcher,
            "age network": digest(judges.network.state_dict()) if judges.network else "",
        }
        prompts += reward.prompts()
    trainer = Trainer(model, data, config, accelerator, inputs, reader, reward, prompts)
    observer = looks.observer if looks else None
    if observer and (reader or reward) and digest(observer.embedder.state_dict()) == matcher:
        trainer.remarks.append(
            f"The judge is the embedder of the identity loss or the reward ({observer.embedder.name}) and flatters "
            "what it trained; the best step to it may not be the best to others. Use another judge."
        )
    return trainer


def _judges(
    config: TrainingConfig,
    detector: FaceDetector | None,
    embedder: FaceEmbedder | None,
    estimator: AgeEstimator | None,
    device: torch.device,
) -> Judges:
    """Of the reward. Raises UserError where one is missing, or none to learn from."""
    if embedder is None or detector is None:
        raise UserError("The reward compares faces and needs a face embedder.")
    if not config.reward_age:
        return Judges(detector, embedder, None)
    if estimator is None:
        raise UserError(
            "The reward judges ages and needs an age estimator: face-api's network for photos, the world's for drawn "
            "faces. Or set reward_age to 0, and the ages may slip."
        )
    return Judges(detector, embedder, years_network(estimator).to(device))


def _data_inputs(data: TrainingData, matcher: str) -> dict[str, Any]:
    """What it takes from the pictures, and from whoever reads faces in them."""
    found: dict[str, Any] = {"pictures": data.fingerprints(), "side": data.resolution}
    if said := data.said():
        found["ages and captions"] = said
    if weighted := data.weighted():
        found["masks"] = weighted
    if data.reads_faces and data.embedder:
        chance = data.decode_probability
        found |= {
            "matcher": matcher,
            "negatives": digest({"vectors": data.negatives.vectors}),
            "decoded": f"{chance.__module__}.{chance.__qualname__}",
        }
    return found


def _best_precision() -> str:
    return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
