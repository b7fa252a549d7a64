"""Warns if an age estimator contradicts the stated ages of the photos."""

from ..ages import display_name, years_off
from ..faces.age_estimators import AgeEstimator, largest_error
from ..pictures.photos import abridged
from .dataset import SubjectSet


def age_doubts(subject: SubjectSet, estimator: AgeEstimator) -> list[str]:
    """Returns a warning that names the photos that look much younger or older than stated; none if no photo does.

    Much is more than the estimator's error. Call this before ages are estimated.
    """
    doubtful = []
    for photo, face in zip(subject.photos, subject.faces, strict=True):
        if photo.age is None or face is None:
            continue
        estimate = estimator(photo.image(), face)
        if years_off(estimate.years, photo.age) > largest_error(estimator, photo.age):
            doubtful.append(f"{photo.name} ({display_name(photo.age)}, looks {estimate.years:.0f})")
    if not doubtful:
        return []
    return [
        f"Warning: {len(doubtful)} of {len(subject.photos)} photos look much younger or older than their stated age: "
        f"{abridged(doubtful)}. If a number in their names is no age, list the ages or rename the photos."
    ]
