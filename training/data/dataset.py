"""The subject's photos and the age-captioned regularization set, as folders hold them."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from ..ages import AGE_CLASSES, mentioned_age_classes
from ..errors import UserError
from ..faces.age_estimators import AgeEstimator
from ..faces.find import Face, FaceDetector
from ..pictures.photos import Bar, Photo, abridged, read_folder
from .ages_in_names import CAPTION_RULE, ages_said


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


def estimate_ages(subject: SubjectSet, estimator: AgeEstimator) -> SubjectSet:
    """``subject`` with an estimated age class for every photo of unknown age that has a face."""
    photos = [
        replace(photo, age=estimator(photo.image(), face).age_class) if photo.age is None and face else photo
        for photo, face in zip(subject.photos, subject.faces, strict=True)
    ]
    return replace(subject, photos=photos)


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
    paths = [photo.source for photo in photos if isinstance(photo.source, Path)]
    ages = [next(iter(ages_said(path, folder).values()), None) for path in paths]
    named = {photo.name: mentioned_age_classes(Path(photo.name).stem) for photo in photos}
    if several := [f"{name} ({', '.join(sorted(classes))})" for name, classes in named.items() if len(classes) > 1]:
        raise UserError(
            f"{len(several)} of {len(photos)} images in {folder} have more than one age class in their names: "
            f"{', '.join(several)}. Leave one in each."
        )
    if unknown := [photo.name for photo, age in zip(photos, ages, strict=True) if age is None]:
        raise UserError(
            f"No age is known for {len(unknown)} of {len(photos)} images in {folder}: {abridged(unknown)}. "
            f"The age class is {CAPTION_RULE}. The six are: {', '.join(AGE_CLASSES)}."
        )
    return RegularizationSet(photos, [str(age) for age in ages])
