"""Builds a trainer from its parts and names its inputs. The session, the study and the benchmarks call this."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from ..config import TrainingConfig
from ..data.dataset import RegularizationSet, SubjectSet
from ..data.instances import instances_of
from ..dreambooth.batches import DecodeProbability, TrainingData, latent_window
from ..dreambooth.face_reader import FaceReader
from ..dreambooth.losses import PAPER_DIMENSIONS, decode_probability
from ..dreambooth.negatives import Negatives
from ..dreambooth.reward import Reward, RewardNetworks
from ..dreambooth.trainer import Trainer
from ..errors import InvalidSetting, MissingInput, NoFaceFound
from ..faces.age_estimators import AgeEstimator, years_network
from ..faces.embedders import FaceEmbedder
from ..faces.find import FaceDetector
from ..models.finite import require_finite
from ..models.interface import Codec, TrainableModel
from ..models.stable_diffusion.vae import LatentCodec
from ..pictures.photos import Bar
from ..weights import digest
from .evaluations import PreviewPlan
from .previews import preview_prompts

DECODED = 16  # side in latents of the part of a photo that is decoded to try the VAE


@dataclass(frozen=True)
class FaceNetworks:
    """The networks that read faces during training."""

    detector: FaceDetector | None = None
    embedder: FaceEmbedder | None = None  # for identity losses and the reward
    estimator: AgeEstimator | None = None  # for the reward
    tiny_vae: LatentCodec | None = None  # decodes faces instead of the model's VAE


def build_trainer(
    model: TrainableModel,
    subject: SubjectSet,
    regularization: RegularizationSet | None,
    config: TrainingConfig,
    networks: FaceNetworks = FaceNetworks(),
    previews: PreviewPlan | None = None,
    extra_prompts: Iterable[str] = (),
    cpu: bool = False,
    decode_probability: DecodeProbability = decode_probability,
    bar: Bar = iter,
    say: Callable[..., None] = lambda *sentences: None,
) -> Trainer:
    """A trainer on the best device; ``cpu`` leaves a GPU alone.

    ``previews`` announces previews of the six ages, ``extra_prompts`` other images that will be generated.
    ``decode_probability`` says how often an identity loss decodes at a timestep. ``bar`` shows the search for negatives
    of the triplet loss, ``say`` receives sentences about the photos. Raises UserError if settings and data do not fit.
    """
    _check(config, networks, subject, regularization)
    accelerator, precision = _accelerator(config, cpu)
    device, embedder = accelerator.device, networks.embedder if config.reads_faces else None
    inputs = model.inputs() | {
        "tiny VAE": digest(networks.tiny_vae.state_dict()) if networks.tiny_vae else "",
        "precision": precision,
        "looks": previews.key if previews else "",
        "processes": accelerator.num_processes,
    }
    model.denoiser.sample_timesteps(config.timestep_sampling)
    model.prepare(config, precision, device)
    decoder: Codec = model.codec
    if networks.tiny_vae:
        decoder = networks.tiny_vae.to(device).to(memory_format=torch.channels_last)
    embedder = embedder.to(device) if embedder else None
    resolution = config.resolution or model.resolution
    instances, remarks = instances_of(subject, config, resolution)
    say(*remarks)
    negatives = None
    if config.loss == "triplet" and regularization and networks.detector and embedder:
        negatives = Negatives.among(regularization, networks.detector, embedder, resolution, device, bar)
        say(*negatives.remarks)
    data = TrainingData(
        instances, regularization, config, resolution, model.codec, device, embedder, negatives, decode_probability,
        model.denoiser.quantiles,
    )  # fmt: skip
    matcher = digest(embedder.state_dict()) if embedder else ""
    inputs |= _data_inputs(data, matcher)
    reader = None
    if data.reads_faces and embedder:
        longest = max(max(instance.shape) for instance in instances)
        window = latent_window(data.face_squares, longest // decoder.factor, decoder.factor)
        reader = FaceReader(decoder, embedder, window, bf16=precision == "bf16")
    prompts, reward = [*extra_prompts, *(preview_prompts(config) if previews else [])], None
    if config.reward_every:
        scorers = _reward_networks(config, networks, device)
        reward = Reward(model, data, config, decoder, scorers, bf16=precision == "bf16")
        inputs["reward"] = {
            "matcher": matcher,
            "age network": digest(scorers.years.state_dict()) if scorers.years else "",
        }
        prompts += reward.prompts()
    trainer = Trainer(model, data, config, accelerator, inputs, reader, reward, prompts)
    _check_vae(trainer, decoder if reader or reward else None, precision == "bf16", bool(previews))
    return trainer


@torch.no_grad()
def _check_vae(trainer: Trainer, face_decoder: Codec | None, bf16: bool, previews: bool) -> None:
    """Encodes the first photo and decodes a part of it as training will.

    Raises UserError for a VAE that gives nan, which would later look like a diverged training or give black previews.
    """
    model, device = trainer.model, trainer.accelerator.device
    photo, part = trainer.data.instances[0].photo.name, trainer.data.latents(0)[None, ..., :DECODED, :DECODED]
    with model.stepping(trainer.data.resolution):
        if face_decoder:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                require_finite(face_decoder, face_decoder.decode(part.to(device)), f"decoding {photo}")
        if previews:
            require_finite(model.codec, model.codec.decode(part.to(device)), f"decoding {photo}")


def flattering_judge(config: TrainingConfig, networks: FaceNetworks, previews: PreviewPlan | None) -> list[str]:
    """A warning if the judge is the embedder that is trained with; empty otherwise."""
    judge, embedder = previews.observer.embedder if previews and previews.observer else None, networks.embedder
    if not (judge and embedder and config.reads_faces and digest(judge.state_dict()) == digest(embedder.state_dict())):
        return []
    return [
        f"The judge is also the embedder that is trained with ({judge.name}), so its scores are too high and the best "
        "step may not be the best to other matchers. Use another judge."
    ]


def _check(
    config: TrainingConfig, networks: FaceNetworks, subject: SubjectSet, regularization: RegularizationSet | None
) -> None:
    if config.loss == "contrastive" and config.train_batch_size == 1 and not regularization:
        raise InvalidSetting(
            "The contrastive loss compares the images of a batch and needs two or more. Raise train_batch_size, or add "
            "a regularization set."
        )
    if config.loss == "triplet" and not (regularization and networks.detector):
        raise MissingInput("The triplet loss compares the subject with other people and needs a regularization set.")
    if config.loss in ("biometric", "triplet"):
        if networks.embedder is None:
            raise MissingInput(f"The {config.loss} loss compares faces and needs a face embedder.")
        if not any(subject.faces):
            raise NoFaceFound(
                f"The {config.loss} loss needs a face, and none was found in the {len(subject.photos)} photos. Use "
                "photos with a larger face seen from the front, or a loss that compares no faces: contrastive, cosine, "
                "none."
            )


def _accelerator(config: TrainingConfig, cpu: bool) -> tuple[Any, str]:
    """accelerate's Accelerator and the precision that it computes in."""
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    cuda = not cpu and torch.cuda.is_available()
    precision = config.mixed_precision or ("bf16" if cuda and torch.cuda.is_bf16_supported() else "no")
    # Otherwise a second run in one process could not use another precision or device.
    AcceleratorState._reset_state(reset_partial_state=cpu)
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=precision,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        # SDXL's text towers end in layers that it never reads
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=config.trains_text_encoder)],
    )
    return accelerator, precision


def _reward_networks(config: TrainingConfig, networks: FaceNetworks, device: torch.device) -> RewardNetworks:
    """Raises UserError if a network is missing or has no age gradient."""
    if networks.embedder is None or networks.detector is None:
        raise MissingInput("The reward compares faces and needs a face embedder.")
    if not config.reward_age:
        return RewardNetworks(networks.detector, networks.embedder, None)
    if networks.estimator is None:
        raise MissingInput(
            "The reward scores ages and needs an age estimator: face-api for photos, drawn-age for the synthetic "
            "world. Or set reward_age to 0; then the ages may drift."
        )
    return RewardNetworks(networks.detector, networks.embedder, years_network(networks.estimator).to(device))


def _data_inputs(data: TrainingData, matcher: str) -> dict[str, Any]:
    """The images, and what reads faces in them."""
    inputs: dict[str, Any] = {"pictures": data.fingerprints(), "side": data.resolution}
    if texts := data.ages_and_captions():
        inputs["ages and captions"] = texts
    if masks := data.mask_fingerprints():
        inputs["masks"] = masks
    if data.reads_faces and data.embedder:
        chance = data.decode_probability
        vectors = data.negatives.vectors if data.negatives else torch.empty(0)
        inputs |= {
            "matcher": matcher,
            "negatives": digest({"vectors": vectors}),
            "decoded": f"{chance.__module__}.{chance.__qualname__}",
        }
        face = next(index for index, instance in enumerate(data.instances) if instance.face)
        dimensions = len(data.reference(face))
        if data.config.loss == "biometric" and dimensions != PAPER_DIMENSIONS:
            inputs["biometric loss of dimensions"] = dimensions  # runs from before the loss was scaled have another id
    return inputs
