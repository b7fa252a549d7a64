"""Whether photos of one person are of one person."""

import numpy as np

from ..biometrics.comparisons import among
from ..faces.observation import Observer
from .dataset import SubjectSet

# Median cosine of a photo with the others: about 0.6 among photos of one person, about 0 with other people.
STRANGE = 0.2
NAMED = 10  # photos in a sentence


def people_remarks(subject: SubjectSet, observer: Observer) -> list[str]:
    """A warning that names the photos whose face is not that of the other photos; none where there is no such photo."""
    pairs = zip(subject.photos, subject.faces, strict=True)
    compared = among([observer.read(photo.name, photo.image(), face) for photo, face in pairs if face])
    rows = [(photo.name, row[~np.isnan(row)]) for photo, row in zip(compared.pictures, compared.matrix, strict=True)]
    odd = [name for name, row in rows if row.size and np.median(row) < STRANGE]
    if not odd:
        return []
    names = ", ".join(odd[:NAMED]) + (f" and {len(odd) - NAMED} more" if len(odd) > NAMED else "")
    return [
        f"Warning: {len(odd)} of {len(rows)} faces look unlike those in the other photos: {names}. Everybody in the "
        "photos is trained as one person; take other people out."
    ]
