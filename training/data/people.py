"""Whether photos of one person are of one person."""

import numpy as np

from ..ages import classes_apart
from ..biometrics.comparisons import among
from ..faces.observation import Observer
from ..pictures.photos import abridged
from .dataset import SubjectSet

# Median cosine of a photo with the others, of a matcher whose threshold nobody measured: about 0.6 among photos of one
# person, about 0 with other people. Not of all: dlib's is 0.75 to 0.92 with other people.
STRANGE = 0.2


def people_remarks(subject: SubjectSet, observer: Observer) -> list[str]:
    """A warning that names the photos whose face is not that of the other photos; none where there is no such photo.

    A photo of known age is held against those of like age only: a child is not alike to who it becomes.
    """
    thresholds = observer.embedder.facts.thresholds
    strange = thresholds.fmr_1 if thresholds else STRANGE
    pairs = [(photo, face) for photo, face in zip(subject.photos, subject.faces, strict=True) if face]
    compared = among([observer.read(photo.name, photo.image(), face) for photo, face in pairs])
    ages = [photo.age for photo, _ in pairs]
    near = np.array([[_near(one, other) for other in ages] for one in ages], dtype=bool)
    rows = [
        (photo.name, row[~np.isnan(row) & with_it])
        for photo, row, with_it in zip(compared.pictures, compared.matrix, near, strict=True)
    ]
    odd = [name for name, row in rows if row.size and np.median(row) < strange]
    if not odd:
        return []
    return [
        f"Warning: {len(odd)} of {len(rows)} faces look unlike those in the other photos: {abridged(odd)}. Everybody "
        "in the photos is trained as one person; take other people out. Where it is that person at another age, "
        "say the ages."
    ]


def _near(one: str | int | None, other: str | int | None) -> bool:
    return one is None or other is None or classes_apart(one, other) <= 1
