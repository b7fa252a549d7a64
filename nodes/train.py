"""Train Aging Subject."""

import contextlib
import math
from typing import TYPE_CHECKING

import comfy.model_management
import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..training.config import TrainingConfig
from ..training.data.dataset import SubjectSet, find_faces
from ..training.data.people import people_remarks
from ..training.data.subject_photos import ages_remarks, captions_remarks
from ..training.dreambooth.reward import reward_remarks
from ..training.dreambooth.trainer import StateIsAhead, StopTraining, Trainer
from ..training.errors import UserError
from ..training.models.stable_diffusion.checkpoint import open_tiny_vae
from ..training.models.stable_diffusion.model import Model
from ..training.models.subject import read_subject
from ..training.names import checked_name
from ..training.pictures.photos import read_once
from ..training.runs.build import build_trainer
from ..training.runs.curves import curves
from ..training.runs.files import FinishedRun, finish, finished, run_files
from ..training.runs.lease import leased
from ..training.runs.looks import LOOK_EVERY, Judge, LookPlan, look_sheet, sentences
from ..training.runs.memory import memory_remarks, out_of_memory
from ..training.runs.watcher import Watcher
from ..training.weights import read_state_dict
from .in_place.copy import IN_PLACE, open_comfy
from .in_place.subject import apply_subject
from .ui.checks import sentence
from .ui.device import detector, give_back, make_room, observer, trains_on_cpu
from .ui.estimator import age_estimator
from .ui.folders import runs_folder, tiny_decoder_file
from .ui.images import to_batch
from .ui.inputs import config_of, later_widgets, setting_widgets
from .ui.photos import photos_of
from .ui.progress import Watch, warn, watched
from .ui.results import kept_on_node
from .ui.sockets import (
    CATEGORY,
    CONSENT,
    AgeSet,
    ChosenJudge,
    FaceEmbedder,
    JudgeSocket,
    SubjectSocket,
    TrainedSubject,
    advanced,
    keeps_results,
    search_aliases,
)

if TYPE_CHECKING:
    from .in_place.model import ComfyModel


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
                        default=LOOK_EVERY,
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
    def execute(
        cls, model, clip, vae, photos, name, preview_every,
        ages=(None,), face_embedder=(None,), judge=(None,), photo_ages=None, captions=None, masks=None, **widgets,
    ) -> io.NodeOutput:  # fmt: skip
        """Trains, or finds the same run finished on disk."""
        config = config_of({key: value[0] for key, value in widgets.items()})
        embedder = face_embedder[0] if config.reads_faces else None
        pictures = photos_of(photos, photo_ages, captions, masks)
        find = detector(face_embedder[0])
        remarks = read_once(ages[0].photos, watched) if ages[0] else []
        faces = find_faces(pictures, find, watched)
        people = people_remarks(faces, observer(face_embedder[0])) if face_embedder[0] else []
        warn(cls.hidden.unique_id, people)
        with torch.inference_mode(False), torch.enable_grad():
            make_room()
            estimator = age_estimator(embedder, None, None) if embedder and config.reward_every else None
            opened, trainer = _open(config, model[0], clip[0], vae[0]), None
            try:
                plan = _look_plan(preview_every[0], judge[0])
                tiny = tiny_decoder_file(model[0]) if embedder else None
                trainer = build_trainer(
                    opened,
                    faces,
                    ages[0],
                    config,
                    embedder=embedder,
                    detector=find,
                    tiny_vae=open_tiny_vae(tiny) if tiny else None,
                    looks=plan,
                    estimator=estimator,
                    cpu=trains_on_cpu(),
                    bar=watched,
                )
                run = cls._finish(trainer, checked_name(name[0]), plan, faces)
            except torch.OutOfMemoryError as error:
                raise UserError(out_of_memory(config, trainer.step_number if trainer else 0)) from error
            finally:
                if not isinstance(opened, Model):
                    opened.close()
                    make_room()
                for network in filter(None, (face_embedder[0], judge[0] and judge[0].embedder)):
                    network.to(torch.device("cpu"))
        remarks += [*faces.remarks, *people, *ages_remarks(pictures), *captions_remarks(pictures, used=True)]
        remarks += [*trainer.data.remarks, *(() if isinstance(opened, Model) else opened.remarks)]
        if tiny:
            remarks.append(f"faces of the identity loss decoded by {tiny.name}, found in models/vae_approx")
        report = [*remarks, _report(trainer, run, len(pictures), ages[0])]
        losses = _loss_map(trainer, run)
        del trainer, opened
        give_back()
        subject = TrainedSubject(name[0], run.file, read_subject(run.file))
        lora = _lora_model(subject)
        model, clip = apply_subject(subject, model[0], clip[0])
        previews, plot = to_batch(run.previews), to_batch([curves(run.history, run.looks)])
        said = "\n".join(report)
        kept = kept_on_node(said, look_sheet(run.previews, run.looks[-1] if run.looks else None))
        return io.NodeOutput(model, clip, subject, lora, losses, previews, said, plot, ui=kept)

    @classmethod
    def _finish(cls, trainer: Trainer, name: str, plan: LookPlan, faces: SubjectSet) -> FinishedRun:
        trainer.title = name
        files = run_files(runs_folder(), name, trainer)
        # A full fine-tune's state is three times the model: too much to keep for a longer run that may never come.
        keep = trainer.config.method == "lora"
        watch = Watch(trainer, cls.hidden.unique_id)
        judge = Judge.of(faces, plan.observer) if plan.observer else None
        watcher = Watcher(trainer, plan, files.folder, judge, watch.show, watch.stop_if_cancelled)
        with leased(files.folder, watch.say) as hold:
            if known := finished(files, keep):
                if not known.previews:
                    raise UserError(
                        f"This training is finished, but its picture of the six ages is gone: {files.previews}. Put it "
                        f"back, or delete {files.subject.name} beside it, and queue again."
                    )
                return known
            if files.state.is_file():
                with contextlib.suppress(StateIsAhead):
                    trainer.resume(files.state)
            needs, advice = memory_remarks(trainer)
            trainer.remarks.append(needs)
            if advice:
                warn(cls.hidden.unique_id, [advice])
            try:
                return finish(trainer, files, watcher, [watch], keep_state=keep, hold=hold)
            except StopTraining:
                comfy.model_management.throw_exception_if_processing_interrupted()
                raise


def _open(config: TrainingConfig, model, clip, vae) -> "Model | ComfyModel":
    """A LoRA on the model is trained in place; whatever changes more, on a copy in diffusers' modules.

    Raises UserError for what a loader has not found in its file.
    """
    if clip is None or vae is None:
        what = "CLIP" if clip is None else "VAE"
        raise UserError(
            f"The loaded checkpoint has no {what}. Load it by a node of its own, and wire that one's {what}."
        )
    if config.method == "lora" and not config.trains_text_encoder and IN_PLACE:
        from .in_place.model import ComfyModel

        return ComfyModel(model, clip, vae)
    return open_comfy(model, clip, vae)


def _look_plan(every: int, chosen: ChosenJudge | None) -> LookPlan:
    if chosen is None:
        return LookPlan(every)
    return LookPlan(every, observer(chosen.embedder, chosen.estimator), chosen.patience)


def _report(trainer: Trainer, run: FinishedRun, photos: int, ages) -> str:
    with_face = len(trainer.data.face_squares)
    done = {None: "found finished on disk", 0: "trained"}.get(run.resumed_at, f"resumed after step {run.resumed_at}")
    lines = [
        f"{photos} photos, {with_face} with a face",
        ages.report if ages else "No age set: plain fine-tuning, without prior preservation.",
        f"{trainer.model.family.name}, predicts {trainer.model.denoiser.prediction_type}",
        f"{trainer.config.method}, loss {trainer.config.loss}, {len(run.history)} steps, {done}",
        *trainer.remarks,
        *reward_remarks(run.history),
        *(sentences(run.looks) if run.looks else ()),
        str(run.file),
    ]
    return "\n".join(lines)


def _loss_map(trainer: Trainer, run: FinishedRun) -> dict[str, list[float]]:
    """The minimised loss of every step under ComfyUI's key, each loss by name and what a judge saw; else nan."""
    names = dict.fromkeys(name for values in run.history for name in values)
    each = {name: [values.get(name, math.nan) for values in run.history] for name in names}
    seen = {look.step: look for look in run.looks}
    for part in ("identity", "age") if seen else ():
        each[part] = [getattr(seen.get(step), part, math.nan) for step in range(1, len(run.history) + 1)]
    totals = [sum(trainer.weight(name) * value for name, value in values.items()) for values in run.history]
    return {"loss": totals} | each


def _lora_model(subject: TrainedSubject) -> dict[str, torch.Tensor] | ExecutionBlocker:
    if subject.header.method == "lora":
        return read_state_dict(subject.file)
    return ExecutionBlocker("A full fine-tune has no LoRA. Use the outputs model and clip, or Save Aging Subject.")
