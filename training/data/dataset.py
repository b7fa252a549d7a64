"""The two data sets of a training run: the subject's photos and the age-captioned regularization set."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from ..ages import AGE_CLASSES, as_class, mentioned_age_classes
from ..errors import InvalidData
from ..faces.age_estimators import AgeEstimator
from ..faces.find import Face, FaceDetector
from ..pictures.photos import Bar, Photo, abridged, read_folder
from .ages_in_names import CAPTION_RULE, ages_said
from .numbers import published_ages
from .subject_photos import notes_remarks


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
    remarks: tuple[str, ...] = ()  # sentences about ages that were estimated, and about images that have none

    @property
    def report(self) -> str:
        """The number of images per age class, where the ages are from, and a warning about classes without images."""
        counts = Counter(self.ages)
        lines = [
            f"{len(self.photos)} regularization images: " + ", ".join(f"{age} {counts[age]}" for age in AGE_CLASSES)
        ]
        lines += [*notes_remarks(self.photos), *self.remarks]
        if missing := [age for age in AGE_CLASSES if not counts[age]]:
            lines.append(
                f"Warning: no regularization image for {', '.join(missing)}. The model will learn these ages least."
            )
        return "\n".join(lines)


def read_regularization_set(
    folder: Path, estimator: AgeEstimator | None = None, detector: FaceDetector | None = None, bar: Bar = iter
) -> RegularizationSet:
    """Reads a folder of regularization images; CAPTION_RULE says where their age classes come from.

    With ``estimator`` and ``detector``, images of unknown age get an estimated class, and those without a face are left
    out. Raises UserError, with a list of the files, if images have several age classes in their names, or if any have
    none and ages are not estimated.
    """
    photos, remarks = _with_named_ages(read_folder(folder, "regularization images"), folder), ()
    classes_in_names = {photo.name: mentioned_age_classes(Path(photo.name).stem) for photo in photos}
    if several := [
        f"{name} ({', '.join(sorted(classes))})" for name, classes in classes_in_names.items() if len(classes) > 1
    ]:
        raise InvalidData(
            f"{len(several)} of {len(photos)} images in {folder} have more than one age class in their names: "
            f"{', '.join(several)}. Keep one age class per name."
        )
    if estimator and detector:
        photos, remarks = _with_estimated_ages(photos, estimator, detector, bar)
    if unknown := [photo.name for photo in photos if photo.age is None]:
        raise InvalidData(
            f"{len(unknown)} of {len(photos)} images in {folder} have no known age class: {abridged(unknown)}. The age "
            f"class is read from {CAPTION_RULE}. The six classes are: {', '.join(AGE_CLASSES)}."
        )
    return RegularizationSet(photos, [as_class(photo.age) for photo in photos if photo.age is not None], remarks)


def _with_named_ages(photos: list[Photo], folder: Path) -> list[Photo]:
    """Returns ``photos`` with the ages that name, folder or caption say, else those of a published set's layout."""
    paths = [photo.source for photo in photos if isinstance(photo.source, Path)]
    labelled = []
    for photo, path, (number, layout) in zip(photos, paths, published_ages(paths), strict=True):
        if (age := next(iter(ages_said(path, folder).values()), None)) is None:
            labelled.append(replace(photo, age=number, age_note=layout))
        else:
            labelled.append(replace(photo, age=age))
    return labelled


def _with_estimated_ages(
    photos: list[Photo], estimator: AgeEstimator, detector: FaceDetector, bar: Bar
) -> tuple[list[Photo], tuple[str, ...]]:
    """Returns the photos whose age is known or can be estimated, and sentences about the others.

    Raises UserError if none is left.
    """
    unknown = [photo for photo in photos if photo.age is None]
    estimated = estimate_ages(find_faces(unknown, detector, bar), estimator).photos if unknown else []
    by_name = {photo.name: photo for photo in estimated if photo.age is not None}
    faceless = {photo.name: photo for photo in unknown if photo.name not in by_name}
    remarks = []
    if by_name:
        remarks.append(f"{len(by_name)} of {len(photos)} images: age class estimated by {estimator.name}.")
    if faceless:
        remarks.append(
            f"{len(faceless)} of {len(photos)} images are left out, because they have no known age and no face to "
            f"estimate it from: {abridged([*faceless])}."
        )
    kept = [by_name.get(photo.name, photo) for photo in photos if photo.name not in faceless]
    if not kept:
        raise InvalidData(" ".join([*remarks, "Use images with a larger face, or name them by age (child_0001.jpg)."]))
    return kept, tuple(remarks)
