"""Save Aging Subject and Load Aging Subject."""

import filecmp
import os
import shutil
from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ..training.errors import MissingFile
from ..training.files import written
from ..training.models.subject import read_subject
from .in_place.subject import apply_subject, base_remark
from .ui.folders import METHOD_FOLDERS, SUBJECTS, subject_names, subject_path
from .ui.sockets import CATEGORY, CONSENT, SubjectSocket, TrainedSubject, keeps_results, search_aliases


class SaveSubject(io.ComfyNode):
    """Saves a trained subject to models/loras or models/checkpoints."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingSaveSubject",
            display_name="Save Aging Subject",
            category=CATEGORY,
            **search_aliases("save lora", "save subject"),
            description="Saves a trained subject as a file that Load LoRA (for a full fine-tune: Load Checkpoint) can "
            f"open too. {CONSENT}",
            is_output_node=True,
            inputs=[SubjectSocket.Input("subject", tooltip="From Train Aging Subject.")],
            outputs=[io.String.Output(display_name="path", tooltip="Path of the saved file.")],
        )

    @classmethod
    def execute(cls, subject: TrainedSubject) -> io.NodeOutput:
        """Saves the file under the next free name, unless an identical copy is already saved."""
        if not subject.file.is_file():
            raise MissingFile(f"The trained subject {subject.file} no longer exists. Queue its training again.")
        root = folder_paths.get_folder_paths(METHOD_FOLDERS[subject.header.method])[0]
        folder, stem, counter, _, _ = folder_paths.get_save_image_path(f"{SUBJECTS}/{subject.name}", root)
        identical = (
            path
            for path in Path(folder).glob(f"{stem}_*{subject.file.suffix}")
            if path.samefile(subject.file) or filecmp.cmp(path, subject.file, shallow=False)
        )
        target = next(identical, None)
        if target is None:
            target = Path(folder) / f"{stem}_{counter:05}_{subject.file.suffix}"
            with written(target) as temporary:
                temporary.unlink()
                try:
                    os.link(subject.file, temporary)  # a hard link: neither file is ever modified
                except OSError:  # another drive, or a file system without hard links
                    shutil.copyfile(subject.file, temporary)
        return io.NodeOutput(str(target), ui=ui.PreviewText(str(target)))


class LoadSubject(io.ComfyNode):
    """Applies a saved subject to a MODEL and CLIP."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingLoadSubject",
            display_name="Load Aging Subject",
            category=CATEGORY,
            **keeps_results(),
            **search_aliases("load lora", "load subject"),
            description="Loads a subject saved by Save Aging Subject, with its token and class word, so you do not "
            "have to type them again.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model that the subject was trained on. Ignored for a full fine-tune, which includes "
                    "its own model.",
                ),
                io.Clip.Input("clip", tooltip="The CLIP that belongs to the model."),
                io.Combo.Input(
                    "subject_file",
                    options=subject_names(),
                    tooltip=f"A file in models/loras/{SUBJECTS} or models/checkpoints/{SUBJECTS}.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-2.0,
                    max=2.0,
                    step=0.05,
                    tooltip="Strength of the LoRA. Lower values look less like the person but age more freely.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="Generates the subject. Connect to KSampler."),
                io.Clip.Output(display_name="clip", tooltip="The matching text encoder. Connect to the prompt nodes."),
                SubjectSocket.Output(
                    display_name="subject", tooltip="Token and class word. Connect to the prompt nodes."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, subject_file: str | None = None) -> bool | str:
        """Rejects a file that does not exist."""
        if subject_file is None or subject_file in subject_names():
            return True
        return (
            f"There is no subject '{subject_file}'. Select one saved by Save Aging Subject (press R to refresh the "
            "list), or train one first with the graph train_subject."
        )

    @classmethod
    def fingerprint_inputs(cls, subject_file: str, **others) -> tuple[int, int]:
        """Changes when the file changes."""
        state = subject_path(subject_file).stat()
        return state.st_size, state.st_mtime_ns

    @classmethod
    def execute(cls, model, clip, subject_file: str, strength: float) -> io.NodeOutput:
        """Reads the header, then applies the weights."""
        path = subject_path(subject_file)
        subject = TrainedSubject(path.stem, path, read_subject(path))
        patched_model, patched_clip = apply_subject(subject, model, clip, strength)
        return io.NodeOutput(patched_model, patched_clip, subject, ui=ui.PreviewText(base_remark(subject, model)))
