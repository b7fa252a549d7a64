"""The world command: writes a small model and synthetic photos to try everything with."""

from dataclasses import dataclass
from pathlib import Path

from ..ages import MAX_AGE
from ..errors import InvalidSetting, MissingInput
from ..files import check_replaceable
from ..options import check, option
from ..world.model import export as write_checkpoint
from ..world.render.photos import SUBJECT, write_photos
from .console import say
from .outputs import visible_files
from .shared import LAST_PERSON, PERSON_HELP


@dataclass(frozen=True)
class WorldOptions:
    """What to write, and where."""

    export: Path | None = option(
        None, help="file for the base model: a small Stable Diffusion 1.x checkpoint (.safetensors)", output="file"
    )
    photos: Path | None = option(
        None, help="folder for a subject's photos and a regularization set, all synthetic", output="folder"
    )
    person: int = option(SUBJECT, help=PERSON_HELP, low=0, high=LAST_PERSON)
    years: float = option(28.0, help="age of the subject in the photos", low=0, high=MAX_AGE)

    def __post_init__(self):
        check(self)
        if not self.export and not self.photos:
            raise MissingInput("There is nothing to write. Give --photos FOLDER, --export FILE.safetensors, or both.")
        if self.export and self.export.suffix != ".safetensors":
            raise InvalidSetting(f"--export {self.export} must end in .safetensors.")


def world(options: WorldOptions) -> int:
    """Writes the synthetic world's base model, a held-out subject's photos with a regularization set, or both."""
    folder, file = options.photos, options.export
    if folder:
        check_replaceable(*visible_files(folder / "photos", folder / "ages"))  # others would be trained on as well
        write_photos(folder, options.person, options.years)
        say(f"Wrote {folder / 'photos'} (one person at {options.years:g} years) and {folder / 'ages'} (other people).")
    if file:
        write_checkpoint(file)
        say(f"Wrote {file}. Its images have 64 px, so train it with --resolution 64.")
    return 0
