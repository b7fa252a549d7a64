"""Train Aging Subject."""

import contextlib
import math
from collections.abc import Generator

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from PIL import Image

from ..training.config import TrainingConfig
from ..training.dreambooth.trainer import Callback, StopTraining, Trainer, loss_weights
from ..training.errors import MissingInput
from ..training.models.interface import TrainableModel
from ..training.models.stable_diffusion.checkpoint import open_tiny_vae
from ..training.models.subject import read_subject
from ..training.names import checked_name
from ..training.pictures.photos import Bar
from ..training.runs import session
from ..training.runs.build import FaceNetworks
from ..training.runs.curves import curves
from ..training.runs.evaluations import Evaluation, PreviewPlan, evaluation_sheet
from ..training.runs.files import FinishedRun, RunFiles, run_files
from ..training.runs.state import run_id
from ..training.weights import read_state_dict
from .in_place.copy import IN_PLACE, open_comfy
from .in_place.subject import apply_subject
from .ui.checks import sentence, the_only
from .ui.device import detector, face_device, give_back, make_room, observer, trains_on_cpu
from .ui.estimator import age_estimator
from .ui.folders import runs_folder, tiny_decoder_file
from .ui.images import to_batch
from .ui.inputs import config_of, later_widgets, setting_widgets
from .ui.photos import photos_of
from .ui.progress import TrainingProgress, stop_if_cancelled, tell, warn, with_progress
from .ui.results import kept_on_node
from .ui.sockets import (
    CATEGORY,
    CONSENT,
    AgeSet,
    FaceEmbedder,
    JudgeChoice,
    JudgeSocket,
    SubjectSocket,
    TrainedSubject,
    advanced,
    keeps_results,
    search_aliases,
)

SHOW_EVERY = 100  # steps between previews; more often than on the command line, since the node shows them


class TrainSubject(io.ComfyNode):
    """DreamBooth with an identity loss on the photos of one person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingTrainSubject",
            display_name="Train Aging Subject",
            category=CATEGORY,
            **keeps_results(),
            **search_aliases("dreambooth", "train lora", "train face", "age progression", "fine-tune"),
            description="Teaches a model one person, so that it can generate them at any age. Cancel keeps the "
            f"progress; queue the same graph again to continue. {CONSENT}",
            is_input_list=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Any text-to-image model: Stable Diffusion, SDXL, Flux, Flux.2, Z-Image, Qwen-Image ... "
                    "It is not modified. Method full supports Stable Diffusion 1.x, 2.x and SDXL.",
                ),
                io.Clip.Input("clip", tooltip="The text encoder that belongs to the model."),
                io.Vae.Input("vae", tooltip="The VAE that belongs to the model."),
                io.Image.Input("photos", tooltip="3-30 photos of one person, in any size, as a batch or a list."),
                AgeSet.Input(
                    "ages",
                    optional=True,
                    tooltip="Faces of other people with their ages. Without them, the subject may look right but not "
                    "age.",
                ),
                FaceEmbedder.Input(
                    "face_embedder",
                    optional=True,
                    tooltip="Needed for the identity losses biometric and triplet, and for the reward.",
                ),
                JudgeSocket.Input(
                    "judge",
                    optional=True,
                    tooltip="From Judge While Training. Scores every preview, so that training returns the best step "
                    "instead of the last.",
                ),
                io.String.Input("name", default="subject", tooltip="Name of the subject and its files."),
                *setting_widgets(),
                advanced(
                    io.Int.Input(
                        "preview_every",
                        display_name="preview every",
                        default=SHOW_EVERY,
                        min=0,
                        max=100_000,
                        tooltip="Steps between previews of the six ages on the node. A preview takes about as long as "
                        "20 steps. 0: only after the last step.",
                    )
                ),
                *later_widgets(),
                io.String.Input(
                    "photo_ages",
                    optional=True,
                    force_input=True,
                    tooltip="The age in each photo, from Load Photos or as text (8, 8, ?, old). It becomes part of the "
                    "prompt.",
                ),
                io.String.Input(
                    "captions",
                    optional=True,
                    force_input=True,
                    tooltip="From Load Photos. Each caption, with the token added, is the prompt of its photo.",
                ),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="One mask per photo, in the same size, white where the person is: from Load Photos. The "
                    "background is then learned less. Invert masks from Load Image.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="Generates the subject. Connect to KSampler."),
                io.Clip.Output(display_name="clip", tooltip="The matching text encoder. Connect to the prompt nodes."),
                SubjectSocket.Output(
                    display_name="subject", tooltip="Connect to Save Aging Subject and the prompt nodes."
                ),
                io.LoraModel.Output(display_name="lora", tooltip="Connect to Save LoRA Weights or Load LoRA Model."),
                io.LossMap.Output(display_name="losses", tooltip="Connect to Plot Loss Graph."),
                io.Image.Output(display_name="previews", tooltip="Quick previews of the six ages after the last step."),
                io.String.Output(display_name="report", tooltip="Summary of the data and the training."),
                io.Image.Output(display_name="curves", tooltip="All losses and judge scores in one plot."),
            ],
        )

    @classmethod
    def validate_inputs(cls, name=(None,)) -> bool | str:
        """Refuses names that are no file names."""
        return sentence(checked_name, name[0])

    @classmethod
    def execute(cls, photos, photo_ages=None, captions=None, masks=None, **inputs) -> io.NodeOutput:
        """Trains, resumes, or finds the same run finished on disk. Photos are lists; a run has one of all else."""
        one_each = {name: the_only(values, name) for name, values in inputs.items()}
        return cls.train(photos_of(photos, photo_ages, captions, masks), **one_each)

    @classmethod
    def train(
        cls, photos, model, clip, vae, name, preview_every, ages=None, face_embedder=None, judge=None, **widgets
    ) -> io.NodeOutput:
        """Trains one subject on ``photos``, a list of Photo."""
        config = config_of(widgets)
        reporter = NodeReporter(cls.hidden.unique_id)
        outputs = session.Outputs(
            files=lambda trainer: _files(trainer, checked_name(name)),
            title=name,
            # The state of a full fine-tune is three times the size of the model.
            keeps_state=config.method == "lora",
        )
        with torch.inference_mode(False), torch.enable_grad():
            make_room()
            networks, tiny = _networks(config, face_embedder, model)
            inputs = session.Inputs(
                photos=photos,
                regularization=ages,
                open_model=lambda: _open(config, model, clip, vae),
                config=config,
                networks=networks,
                plan=_plan(preview_every, judge),
                tiny_vae_name=tiny,
                face_device=face_device(),
                cpu=trains_on_cpu(),
            )
            try:
                run = session.train(inputs, outputs, reporter)
            except StopTraining:
                comfy.model_management.throw_exception_if_processing_interrupted()
                raise
            finally:
                make_room()
                for network in filter(None, (face_embedder, judge and judge.embedder)):
                    network.to(torch.device("cpu"))
        give_back()
        subject = TrainedSubject(name, run.file, read_subject(run.file))
        model, clip = apply_subject(subject, model, clip)
        report = "\n".join([*reporter.sentences, str(run.file)])
        return io.NodeOutput(
            model,
            clip,
            subject,
            _lora_model(subject),
            _loss_map(config, run),
            to_batch(run.previews),
            report,
            to_batch([curves(run.history, run.evaluations)]),
            ui=kept_on_node(report, evaluation_sheet(run.previews, run.evaluations[-1] if run.evaluations else None)),
        )


class NodeReporter:
    """Reports a session on the node and collects its sentences for the report."""

    def __init__(self, node_id: str):
        self.node_id = node_id
        self.sentences: list[str] = []
        self.watch: TrainingProgress | None = None

    def say(self, *sentences: str) -> None:
        """Shows the sentences on the node and keeps them for the report."""
        self.sentences += sentences
        tell(sentences, self.node_id)

    def warn(self, *sentences: str) -> None:
        """Also pops the sentences up on the screen."""
        self.say(*sentences)
        warn(self.node_id, list(sentences))

    def begin(self, task: str) -> None:
        """Shows the task on the node, with an empty bar: the one before it is full."""
        tell([f"{task} ..."], self.node_id)
        comfy.utils.ProgressBar(1, node_id=self.node_id).update_absolute(0)

    def bar(self, task: str) -> Bar:
        """A progress bar on the node."""
        self.begin(task)
        return with_progress

    def show(self, images: list[Image.Image], evaluation: Evaluation | None) -> None:
        """Shows a preview on the node."""
        if self.watch:
            self.watch.show(images, evaluation)

    def check(self) -> None:
        """Raises StopTraining after Cancel."""
        stop_if_cancelled()

    @contextlib.contextmanager
    def training(self, trainer: Trainer) -> Generator[Callback, None, None]:
        """A callback that shows the progress on the node and stops after Cancel."""
        self.watch = TrainingProgress(trainer, self.node_id)
        self.begin(f"step {trainer.step_number + 1} of {trainer.config.max_train_steps}")
        try:
            yield self.watch
        except (StopTraining, comfy.model_management.InterruptProcessingException):  # the state is saved by now
            stopped = f"Stopped after step {trainer.step_number}. This is kept: press Run to continue."
            tell([stopped], self.node_id)
            raise


def _files(trainer: Trainer, name: str) -> RunFiles:
    return run_files(runs_folder(), name, run_id(trainer), trainer.config.max_train_steps)


def _networks(config: TrainingConfig, face_embedder, model) -> tuple[FaceNetworks, str]:
    """The networks that read faces, and the name of the tiny decoder among them."""
    estimator, tiny = None, None
    if face_embedder and config.reads_faces:
        estimator = age_estimator(face_embedder, None, None) if config.reward_every else None
        tiny = tiny_decoder_file(model)
    tiny_vae = open_tiny_vae(tiny) if tiny else None
    return FaceNetworks(detector(face_embedder), face_embedder, estimator, tiny_vae), tiny.name if tiny else ""


def _open(config: TrainingConfig, model, clip, vae) -> TrainableModel:
    """A LoRA on the network alone is trained in place, everything else on a copy in diffusers' modules.

    Raises UserError if the checkpoint has no CLIP or VAE.
    """
    if clip is None or vae is None:
        missing = "CLIP" if clip is None else "VAE"
        raise MissingInput(f"The checkpoint contains no {missing}. Load one with its own node and connect that.")
    if config.method == "lora" and not config.trains_text_encoder and IN_PLACE:
        from .in_place.model import ComfyModel

        return ComfyModel(model, clip, vae)
    return open_comfy(model, clip, vae)


def _plan(every: int, judge: JudgeChoice | None) -> PreviewPlan:
    return (
        PreviewPlan(every, observer(judge.embedder, judge.estimator), judge.patience) if judge else PreviewPlan(every)
    )


def _loss_map(config: TrainingConfig, run: FinishedRun) -> dict[str, list[float]]:
    """The total loss per step under ComfyUI's key "loss", each loss, and the judge's scores; nan if missing."""
    weights = loss_weights(config)
    names = dict.fromkeys(name for values in run.history for name in values)
    curves = {name: [values.get(name, math.nan) for values in run.history] for name in names}
    evaluations = {evaluation.step: evaluation for evaluation in run.evaluations}
    for part in ("identity", "age") if evaluations else ():
        curves[part] = [getattr(evaluations.get(step), part, math.nan) for step in range(1, len(run.history) + 1)]
    totals = [sum(weights[name] * values[name] for name in values if name in weights) for values in run.history]
    return {"loss": totals} | curves


def _lora_model(subject: TrainedSubject) -> dict[str, torch.Tensor] | ExecutionBlocker:
    if subject.header.method == "lora":
        return read_state_dict(subject.file)
    return ExecutionBlocker("A full fine-tune has no LoRA. Use the outputs model and clip, or Save Aging Subject.")
