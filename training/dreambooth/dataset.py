"""The subject's photos and the age-captioned regularization set, as folders hold them."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..ages import AGE_CLASSES, age_class, leading_age_class, mentioned_age_classes
from ..errors import UserError
from ..faces.find import Face, FaceDetector
from ..pictures.photos import Bar, Photo, read_folder

CAPTION_RULE = (
    "the start of the file name (child_0001.jpg), else the name of its folder, else a .txt file beside it that "
    "mentions one age class"
)


@dataclass(frozen=True)
class SubjectSet:
    """Photos of one person, each with its main face or None."""

    photos: list[Photo]
    faces: list[Face | None]
    remarks: list[str]  # sentences about photos that are not as one would wish


def find_faces(photos: list[Photo], detector: FaceDetector, bar: Bar = iter) -> SubjectSet:
    """Looks for the subject's face in every photo, once."""
    faces, remarks = [], []
    for photo in bar(photos):
        found = detector(photo.image())
        faces.append(next(iter(found), None))
        if not found:
            remarks.append(f"{photo.name}: no face found; it trains the reconstruction, not the identity loss.")
        elif len(found) > 1:
            remarks.append(f"{photo.name}: {len(found)} faces found; the largest, most central one is taken.")
    return SubjectSet(photos, faces, remarks)


@dataclass(frozen=True)
class RegularizationSet:
    """Pictures of other people, each with its age class."""

    photos: list[Photo]
    ages: list[str]

    @property
    def report(self) -> str:
        """How many pictures each class has, and a warning for each class that has none."""
        counts = Counter(self.ages)
        lines = [
            f"{len(self.photos)} regularization images: " + ", ".join(f"{age} {counts[age]}" for age in AGE_CLASSES)
        ]
        if missing := [age for age in AGE_CLASSES if not counts[age]]:
            lines.append(
                f"Warning: no regularization image for {', '.join(missing)}; these ages will be learned least."
            )
        return "\n".join(lines)


def read_regularization_set(folder: Path) -> RegularizationSet:
    """A folder of age-captioned images; the caption is CAPTION_RULE.

    Raises UserError listing the files whose caption is none of the six, or whose names hold several.
    """
    photos = read_folder(folder, "regularization images")
    ages = [_caption(photo.source, folder) for photo in photos if isinstance(photo.source, Path)]
    named = {photo.name: mentioned_age_classes(Path(photo.name).stem) for photo in photos}
    if several := [f"{name} ({', '.join(sorted(classes))})" for name, classes in named.items() if len(classes) > 1]:
        raise UserError(
            f"{len(several)} of {len(photos)} images in {folder} have more than one age class in their names: "
            f"{', '.join(several)}. Leave one in each."
        )
    if unknown := [photo.name for photo, age in zip(photos, ages, strict=True) if age is None]:
        shown = ", ".join(unknown[:10]) + (f" and {len(unknown) - 10} more" if len(unknown) > 10 else "")
        raise UserError(
            f"No age is known for {len(unknown)} of {len(photos)} images in {folder}: {shown}. "
            f"The age class is {CAPTION_RULE}. The six are: {', '.join(AGE_CLASSES)}."
        )
    return RegularizationSet(photos, [age for age in ages if age])


def _caption(path: Path, folder: Path) -> str | None:
    if age := leading_age_class(path.stem):
        return age
    if path.parent != folder and (age := age_class(path.parent.name)):
        return age
    text = path.with_suffix(".txt")
    mentioned = mentioned_age_classes(text.read_text(encoding="utf-8", errors="replace")) if text.is_file() else set()
    return mentioned.pop() if len(mentioned) == 1 else None
