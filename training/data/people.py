"""Warns if the subject's photos seem to show several people."""

import numpy as np

from ..ages import classes_apart
from ..biometrics.comparisons import among
from ..faces.observation import Observer
from ..pictures.photos import abridged
from .dataset import SubjectSet

# Limit for matchers without a measured threshold, on the median cosine similarity of a photo to the others. It is about
# 0.6 between photos of one person and about 0 between people, but not for every matcher: dlib's is 0.75 to 0.92 between
# people.
STRANGE = 0.2


def people_remarks(subject: SubjectSet, observer: Observer) -> list[str]:
    """Returns a warning that names the photos whose face does not match the other photos; none if all match.

    Photos of known age are compared only with photos of a similar age, because a face changes while growing up.
    """
    thresholds = observer.embedder.facts.thresholds
    limit = thresholds.fmr_1 if thresholds else STRANGE
    pairs = [(photo, face) for photo, face in zip(subject.photos, subject.faces, strict=True) if face]
    compared = among([observer.read(photo.name, photo.image(), face) for photo, face in pairs])
    ages = [photo.age for photo, _ in pairs]
    comparable = np.array([[_similar_ages(first, second) for second in ages] for first in ages], dtype=bool)
    similarities = [
        (photo.name, row[~np.isnan(row) & mask])
        for photo, row, mask in zip(compared.pictures, compared.matrix, comparable, strict=True)
    ]
    odd = [name for name, row in similarities if row.size and np.median(row) < limit]
    if not odd:
        return []
    return [
        f"Warning: {len(odd)} of {len(similarities)} faces look unlike those in the other photos: {abridged(odd)}. "
        "Training treats everyone in the photos as one person. Remove photos of other people. If these show the "
        "subject at another age, set the photos' ages."
    ]


def _similar_ages(first: str | int | None, second: str | int | None) -> bool:
    return first is None or second is None or classes_apart(first, second) <= 1
