"""Model, input and output folders, following ComfyUI's conventions."""

from pathlib import Path

import folder_paths

from ...training.pictures.masks import mask_beside
from ...training.pictures.photos import image_files, left_out

FACENET = "facenet"  # models/facenet, for all face networks
SUBJECTS = "aging_subjects"  # under models/loras and models/checkpoints
RUNS = "aging_runs"  # under output/
METHOD_FOLDERS = {"lora": "loras", "full": "checkpoints"}


def register_folders() -> None:
    """Registers models/facenet as a model folder, in addition to any in extra_model_paths.yaml."""
    folder_paths.add_model_folder_path(FACENET, str(Path(folder_paths.models_dir) / FACENET))


def face_file(name: str) -> Path:
    """The path of the weights ``name`` in any facenet folder, or the path to download them to."""
    existing = folder_paths.get_full_path(FACENET, name)
    return Path(existing) if existing else Path(folder_paths.get_folder_paths(FACENET)[0]) / Path(name).name


def tiny_decoder_file(model) -> Path | None:
    """The tiny decoder (TAESD) for a MODEL's latents in models/vae_approx, found as ComfyUI's previews find it.

    None if the file is missing. Also None unless the latents have four channels: other tiny decoders differ in
    architecture.
    """
    latents = model.model.latent_format
    name = latents.taesd_decoder_name if latents.latent_channels == 4 else None
    matching = [file for file in folder_paths.get_filename_list("vae_approx") if name and file.startswith(name)]
    return Path(folder_paths.get_full_path_or_raise("vae_approx", matching[0])) if matching else None


def runs_folder() -> Path:
    """The folder with the states that runs resume from."""
    return Path(folder_paths.get_output_directory()) / RUNS


def subject_names() -> list[str]:
    """All saved subjects, as "loras/anna_00001_.safetensors"."""
    return [
        f"{folder}/{name[len(SUBJECTS) + 1 :]}"
        for folder in METHOD_FOLDERS.values()
        for name in folder_paths.get_filename_list(folder)
        if Path(name).parts[0] == SUBJECTS
    ]


def subject_path(name: str) -> Path:
    """The path of a subject listed by ``subject_names``."""
    folder, _, file = name.partition("/")
    return Path(folder_paths.get_full_path_or_raise(folder, f"{SUBJECTS}/{file}"))


def input_folders() -> list[str]:
    """All folders inside input/, and those directly inside output/ as "ages [output]", which is ComfyUI's notation."""
    outputs = sorted(folder.name for folder in Path(folder_paths.get_output_directory()).glob("*/"))
    return [*folder_paths.get_input_subfolders(), *(f"{name} [output]" for name in outputs if name != RUNS)]


def input_folder(name: str) -> Path:
    """The path of a folder listed by ``input_folders``."""
    folder, base = folder_paths.annotated_filepath(name)
    return Path(base or folder_paths.get_input_directory()) / folder


def input_folder_problem(name: str, what: str) -> bool | str:
    """Returns True, or a message if the folder ``name`` is missing or has no images; ``what`` should be in it."""
    if name not in input_folders():
        return (
            f"There is no folder '{name}' in ComfyUI's input folder. Create a folder there, put {what} into it, "
            "press R and select it."
        )
    if not any(image_files(input_folder(name))):
        skipped = left_out(input_folder(name))
        return " ".join([f"The folder '{name}' contains no images. Put {what} into it.", *skipped])
    return True


def input_folder_state(name: str) -> list[tuple[str, int, int]]:
    """Path, size and modification time of each image, caption and mask in the folder ``name``, to detect changes."""
    pictures = list(image_files(input_folder(name)))
    beside = [file for path in pictures for file in (path.with_suffix(".txt"), mask_beside(path))]
    files = [*pictures, *(file for file in beside if file and file.is_file())]
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
