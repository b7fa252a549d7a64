"""The two data sets of a training run: the subject's photos and the age-captioned regularization set."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from ..ages import AGE_CLASSES, mentioned_age_classes
from ..errors import InvalidData
from ..faces.age_estimators import AgeEstimator
from ..faces.find import Face, FaceDetector
from ..pictures.photos import Bar, Photo, abridged, read_folder
from .ages_in_names import CAPTION_RULE, ages_said


@dataclass(frozen=True)
class SubjectSet:
    """Photos of the subject, each with its main face, or None if no face was found."""

    photos: list[Photo]
    faces: list[Face | None]
    remarks: list[str]  # sentences about photos without a face or with several


def find_faces(photos: list[Photo], detector: FaceDetector, bar: Bar = iter) -> SubjectSet:
    """Detects the subject's face in each photo."""
    faces, remarks = [], []
    for photo in bar(photos):
        detected = detector(photo.image())
        faces.append(next(iter(detected), None))
        if not detected:
            remarks.append(
                f"{photo.name}: no face found. It is used for the reconstruction, not for the identity loss."
            )
        elif len(detected) > 1:
            remarks.append(
                f"{photo.name}: {len(detected)} faces found. The largest is used; of nearly equal ones, the most "
                "central."
            )
    return SubjectSet(photos, faces, remarks)


def estimate_ages(subject: SubjectSet, estimator: AgeEstimator) -> SubjectSet:
    """Returns ``subject`` with an estimated age class for each photo that has a face but no known age."""
    photos = [
        replace(photo, age=estimator(photo.image(), face).age_class) if photo.age is None and face else photo
        for photo, face in zip(subject.photos, subject.faces, strict=True)
    ]
    return replace(subject, photos=photos)


@dataclass(frozen=True)
class RegularizationSet:
    """Images of other people, each with its age class."""

    photos: list[Photo]
    ages: list[str]

    @property
    def report(self) -> str:
        """The number of images per age class, and a warning that lists the classes without images."""
        counts = Counter(self.ages)
        lines = [
            f"{len(self.photos)} regularization images: " + ", ".join(f"{age} {counts[age]}" for age in AGE_CLASSES)
        ]
        if missing := [age for age in AGE_CLASSES if not counts[age]]:
            lines.append(
                f"Warning: no regularization image for {', '.join(missing)}. The model will learn these ages least."
            )
        return "\n".join(lines)


def read_regularization_set(folder: Path) -> RegularizationSet:
    """Reads a folder of regularization images; CAPTION_RULE says where their age classes come from.

    Raises UserError, with a list of the files, if images have no age class or have several in their names.
    """
    photos = read_folder(folder, "regularization images")
    paths = [photo.source for photo in photos if isinstance(photo.source, Path)]
    ages = [next(iter(ages_said(path, folder).values()), None) for path in paths]
    classes_in_names = {photo.name: mentioned_age_classes(Path(photo.name).stem) for photo in photos}
    if several := [
        f"{name} ({', '.join(sorted(classes))})" for name, classes in classes_in_names.items() if len(classes) > 1
    ]:
        raise InvalidData(
            f"{len(several)} of {len(photos)} images in {folder} have more than one age class in their names: "
            f"{', '.join(several)}. Keep one age class per name."
        )
    if unknown := [photo.name for photo, age in zip(photos, ages, strict=True) if age is None]:
        raise InvalidData(
            f"{len(unknown)} of {len(photos)} images in {folder} have no known age class: {abridged(unknown)}. The age "
            f"class is read from {CAPTION_RULE}. The six classes are: {', '.join(AGE_CLASSES)}."
        )
    return RegularizationSet(photos, [str(age) for age in ages])
