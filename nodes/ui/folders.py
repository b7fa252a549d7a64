"""Where the pack's files live: where ComfyUI users look for such files."""

from pathlib import Path

import folder_paths

from ...training.pictures.masks import mask_beside
from ...training.pictures.photos import image_files

FACENET = "facenet"  # models/facenet, where every face network lies
SUBJECTS = "aging_subjects"  # under models/loras and models/checkpoints
RUNS = "aging_runs"  # under output/
METHOD_FOLDERS = {"lora": "loras", "full": "checkpoints"}


def register_folders() -> None:
    """Makes models/facenet a model folder, beside those that extra_model_paths.yaml may name."""
    folder_paths.add_model_folder_path(FACENET, str(Path(folder_paths.models_dir) / FACENET))


def face_file(name: str) -> Path:
    """The weights called ``name`` in any of the facenet folders, or where they would be put."""
    found = folder_paths.get_full_path(FACENET, name)
    return Path(found) if found else Path(folder_paths.get_folder_paths(FACENET)[0]) / Path(name).name


def tiny_decoder_file(model) -> Path | None:
    """The tiny decoder (TAESD) of a MODEL's latents in models/vae_approx, as ComfyUI's own previews look for it.

    None where there is none, and for latents of other than four channels, whose tiny decoders are of another build.
    """
    latents = model.model.latent_format
    name = latents.taesd_decoder_name if latents.latent_channels == 4 else None
    there = [file for file in folder_paths.get_filename_list("vae_approx") if name and file.startswith(name)]
    return Path(folder_paths.get_full_path_or_raise("vae_approx", there[0])) if there else None


def runs_folder() -> Path:
    """Where runs keep what resuming them needs."""
    return Path(folder_paths.get_output_directory()) / RUNS


def subject_names() -> list[str]:
    """Every saved subject, as "loras/anna_00001_.safetensors"."""
    return [
        f"{kind}/{name[len(SUBJECTS) + 1 :]}"
        for kind in METHOD_FOLDERS.values()
        for name in folder_paths.get_filename_list(kind)
        if Path(name).parts[0] == SUBJECTS
    ]


def subject_path(name: str) -> Path:
    """The file of one of ``subject_names``."""
    kind, _, file = name.partition("/")
    return Path(folder_paths.get_full_path_or_raise(kind, f"{SUBJECTS}/{file}"))


def input_folders() -> list[str]:
    """Every folder under input/, and those right under output/ as "ages [output]", which is ComfyUI's own way."""
    drawn = sorted(folder.name for folder in Path(folder_paths.get_output_directory()).glob("*/"))
    return [*folder_paths.get_input_subfolders(), *(f"{name} [output]" for name in drawn if name != RUNS)]


def input_folder(name: str) -> Path:
    """Where the folder is that ``input_folders`` calls ``name``."""
    folder, base = folder_paths.annotated_filepath(name)
    return Path(base or folder_paths.get_input_directory()) / folder


def input_folder_problem(name: str, what: str) -> bool | str:
    """What validate_inputs wants of a folder under input/: True, or that it is not there or empty for ``what``."""
    if name not in input_folders():
        return (
            f"There is no folder '{name}' under ComfyUI's input folder. Put {what} into one there, "
            "press R and choose it."
        )
    if not any(image_files(input_folder(name))):
        return f"The folder '{name}' holds no picture. Put {what} into it."
    return True


def input_folder_state(name: str) -> list[tuple[str, int, int]]:
    """Changes when a picture of the folder ``name`` under input/, its text or its mask comes, goes or changes."""
    pictures = list(image_files(input_folder(name)))
    beside = [file for path in pictures for file in (path.with_suffix(".txt"), mask_beside(path))]
    files = [*pictures, *(file for file in beside if file and file.is_file())]
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
