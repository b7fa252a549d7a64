"""Save Aging Subject and Load Aging Subject."""

import filecmp
import os
import shutil
from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ..training.errors import UserError
from ..training.files import written
from ..training.models.subject import read_subject
from .in_place.subject import apply_subject, base_remark
from .ui.folders import METHOD_FOLDERS, SUBJECTS, subject_names, subject_path
from .ui.sockets import CATEGORY, CONSENT, SubjectSocket, TrainedSubject, keeps_results, search_aliases


class SaveSubject(io.ComfyNode):
    """A trained subject into models/loras or models/checkpoints."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingSaveSubject",
            display_name="Save Aging Subject",
            category=CATEGORY,
            **search_aliases("save lora", "save subject"),
            description="Keeps a trained subject as a file that Load LoRA (or, for a full fine-tune, Load Checkpoint) "
            f"opens too. {CONSENT}",
            is_output_node=True,
            inputs=[SubjectSocket.Input("subject", tooltip="From Train Aging Subject.")],
            outputs=[io.String.Output(display_name="path", tooltip="The file that was written.")],
        )

    @classmethod
    def execute(cls, subject: TrainedSubject) -> io.NodeOutput:
        """Puts the file under a name that is still free; a subject that is saved already is not saved again."""
        if not subject.file.is_file():
            raise UserError(f"The trained subject {subject.file} is gone. Queue its training again.")
        root = folder_paths.get_folder_paths(METHOD_FOLDERS[subject.header.method])[0]
        folder, stem, counter, _, _ = folder_paths.get_save_image_path(f"{SUBJECTS}/{subject.name}", root)
        same = (
            path
            for path in Path(folder).glob(f"{stem}_*{subject.file.suffix}")
            if path.samefile(subject.file) or filecmp.cmp(path, subject.file, shallow=False)
        )
        target = next(same, None)
        if target is None:
            target = Path(folder) / f"{stem}_{counter:05}_{subject.file.suffix}"
            with written(target) as temporary:
                temporary.unlink()
                try:
                    os.link(subject.file, temporary)  # one file under two names: nobody writes into either
                except OSError:  # on another drive, or one that has no links
                    shutil.copyfile(subject.file, temporary)
        return io.NodeOutput(str(target), ui=ui.PreviewText(str(target)))


class LoadSubject(io.ComfyNode):
    """A saved subject on a MODEL and CLIP."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingLoadSubject",
            display_name="Load Aging Subject",
            category=CATEGORY,
            **keeps_results(),
            **search_aliases("load lora", "load subject"),
            description="Opens a subject that Save Aging Subject wrote. Its token and class word come along, so no "
            "prompt has to be retyped.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="The model that a LoRA subject was trained on. A full fine-tune brings its own."
                ),
                io.Clip.Input("clip", tooltip="The CLIP beside that model."),
                io.Combo.Input(
                    "subject_file",
                    options=subject_names(),
                    tooltip=f"File under models/loras/{SUBJECTS} or models/checkpoints/{SUBJECTS}.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-2.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How much of a LoRA is used. Less looks less like the person and ages more freely.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="Draws the subject; goes into a KSampler."),
                io.Clip.Output(display_name="clip", tooltip="The text encoder for it; goes into the prompt nodes."),
                SubjectSocket.Output(display_name="subject", tooltip="Token and class word, for the prompt nodes."),
            ],
        )

    @classmethod
    def validate_inputs(cls, subject_file: str | None = None) -> bool | str:
        """Refuses a file that is not there, in a sentence."""
        if subject_file is None or subject_file in subject_names():
            return True
        return (
            f"There is no subject '{subject_file}'. Choose one that Save Aging Subject has kept (R brings new ones "
            "into the list), or train one first: the graph train_subject does."
        )

    @classmethod
    def fingerprint_inputs(cls, subject_file: str, **others) -> tuple[int, int]:
        """Changes when the file does."""
        state = subject_path(subject_file).stat()
        return state.st_size, state.st_mtime_ns

    @classmethod
    def execute(cls, model, clip, subject_file: str, strength: float) -> io.NodeOutput:
        """Reads the header, then the weights."""
        path = subject_path(subject_file)
        subject = TrainedSubject(path.stem, path, read_subject(path))
        drawn = apply_subject(subject, model, clip, strength)
        return io.NodeOutput(*drawn, subject, ui=ui.PreviewText(base_remark(subject, model)))
