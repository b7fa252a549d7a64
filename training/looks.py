"""A look at a subject while it trains: who it is by now, and how old at each age."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from .age_estimator import TOLERANCE, AgeEstimator, years_off
from .ages import AGE_CLASSES, display_name
from .dataset import SubjectSet
from .embedder import FaceEmbedder, embed_face, find_and_embed
from .errors import UserError
from .faces import FaceDetector
from .sheet import contact_sheet


@dataclass(frozen=True)
class Look:
    """What was seen after ``step`` on one picture of each of the six age classes."""

    step: int
    similarities: list[float | None]  # mean cosine with the photos; None where no face was found
    years: list[float | None]  # as estimated; None where no face was found or nothing judges ages

    @property
    def identity(self) -> float:
        """The mean similarity, in [0, 1]; a picture without a face counts 0, as does one that is unlike."""
        return sum(max(0.0, similarity or 0.0) for similarity in self.similarities) / len(self.similarities)

    @property
    def age(self) -> float:
        """How right the ages are, in [0, 1]: 1 within the class, 0 from TOLERANCE years outside it or without a face.

        Where nothing judged ages it is 1, and identity alone tells looks apart.
        """
        if not any(years is not None for years in self.years):
            return 1.0
        pairs = zip(self.years, AGE_CLASSES, strict=True)
        rights = [0.0 if years is None else max(0.0, 1 - years_off(years, age) / TOLERANCE) for years, age in pairs]
        return sum(rights) / len(rights)

    @property
    def score(self) -> float:
        """Identity x age: what the best step has most of."""
        return self.identity * self.age


def best(looks: Sequence[Look]) -> Look | None:
    """The look with the highest score, the earliest of equals; None where there is none."""
    return max(looks, key=lambda look: look.score, default=None)


def gained(looks: Sequence[Look], patience: int) -> bool:
    """Whether identity or age was better in one of the last ``patience`` looks than in all before them."""
    before, last = looks[:-patience], looks[-patience:]
    return not before or any(
        max(getattr(look, part) for look in last) > max(getattr(look, part) for look in before)
        for part in ("identity", "age")
    )


def look_sheet(pictures: list[Image.Image], look: Look | None = None) -> Image.Image:
    """The six pictures in two rows, each with its age and, where somebody looked, what was seen."""
    labels = [display_name(age) for age in AGE_CLASSES]
    if look:
        seen = zip(labels, look.similarities, look.years, strict=True)
        labels = [f"{label}\n{_seen(similarity, years)}" for label, similarity, years in seen]
    return contact_sheet(pictures, labels, columns=3)


def _seen(similarity: float | None, years: float | None) -> str:
    if similarity is None:
        return "no face"
    return f"similarity {similarity:.2f}" + ("" if years is None else f"\nlooks {years:.0f}")


def sentences(looks: Sequence[Look]) -> list[str]:
    """Which step was best, beside the last; and what the judges cannot have seen."""
    chosen, last = best(looks), looks[-1]
    lines = [f"Best of {len(looks)} looks: step {chosen.step}, {_words(chosen)}."]
    if chosen != last:
        lines.append(f"The last one, step {last.step}, has {_words(last)}.")
    if not any(years is not None for look in looks for years in look.years):
        lines.append("Nothing judged the ages, so the best look is only the likest.")
    return lines


def _words(look: Look) -> str:
    missing = look.similarities.count(None)
    return f"identity {look.identity:.2f} x age {look.age:.2f}" + (f", {missing} without a face" if missing else "")


@dataclass(frozen=True)
class Judge:
    """Whoever looks: a matcher, which should not be that of the identity loss, and whoever tells ages."""

    embedder: FaceEmbedder
    detector: FaceDetector
    references: Tensor  # unit vectors [R, D] of the photos' faces
    estimator: AgeEstimator | None = None
    device: torch.device | str = "cpu"  # of the embedder

    @classmethod
    def of(
        cls,
        subject: SubjectSet,
        embedder: FaceEmbedder,
        detector: FaceDetector,
        estimator: AgeEstimator | None = None,
        device: torch.device | str = "cpu",
    ) -> "Judge":
        """A judge of likeness to the photos of ``subject``. Raises UserError where none of them has a face."""
        seen = [(photo, face) for photo, face in zip(subject.photos, subject.faces, strict=True) if face]
        if not seen:
            raise UserError(
                f"No face was found in any of the {len(subject.photos)} photos, so nobody can tell how alike the "
                "subject is while it trains. Use photos in which the face is larger, or train without a judge."
            )
        vectors = [embed_face(embedder, photo.image(), face, device) for photo, face in seen]
        return cls(embedder, detector, torch.stack(vectors), estimator, device)

    @property
    def name(self) -> str:
        """The matcher and the age estimator."""
        return f"{self.embedder.name}, {self.estimator.name if self.estimator else 'no age estimator'}"

    def look(self, step: int, pictures: Sequence[Image.Image]) -> Look:
        """What ``pictures``, one an age class in their order, show."""
        similarities, years = [], []
        for picture in pictures:
            face, vector = find_and_embed(picture, self.detector, self.embedder, self.device)
            similarities.append(None if face is None else (self.references @ vector).mean().item())
            years.append(self.estimator(picture, face).years if face and self.estimator else None)
        return Look(step, similarities, years)
