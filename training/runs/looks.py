"""A look at a subject while it trains: who it is by now, and how old at each age."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from ..ages import AGE_CLASSES, TOLERANCE, display_name, years_off
from ..biometrics.comparisons import against
from ..biometrics.verdicts import verdict
from ..data.dataset import SubjectSet
from ..errors import UserError
from ..faces.observation import Observation, Observer
from ..pictures.sheet import contact_sheet
from ..records import from_json
from ..weights import digest

LOOK_EVERY = 250  # training steps, by default


@dataclass(frozen=True)
class LookPlan:
    """When a training is looked at, by whom, and when it ends for want of gain.

    A look comes every ``every`` steps (0: never) and after the last. An ``observer``, which should not have the
    embedder of the identity loss, judges each; with ``patience`` training ends once neither identity nor age was
    better in so many looks. Raises UserError for numbers below 0.
    """

    every: int
    observer: Observer | None = None
    patience: int = 0

    def __post_init__(self):
        if self.every < 0 or self.patience < 0:
            raise UserError(
                f"A look every {self.every} steps with patience {self.patience} makes no sense; use 0 or more."
            )

    @property
    def key(self) -> str:
        """What is kept and where training ends depend on it; previews that nobody judges change nothing."""
        if not self.observer:
            return ""
        weights = digest(self.observer.embedder.state_dict())[:12]
        return f"{self.observer.name} ({weights}), every {self.every} steps, patience {self.patience}"


@dataclass(frozen=True)
class Look:
    """What was seen after ``step`` on one picture of each of the six age classes."""

    step: int
    similarities: list[float | None]  # mean cosine with the photos nearest in age; None where no face was found
    years: list[float | None]  # as estimated; None where no face was found or nothing judges ages
    verdicts: list[str | None] = field(default_factory=list)  # none of a matcher whose thresholds nobody measured
    years_error: float | None = None  # mean absolute error of the estimator, where it was measured

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


def read_looks(found: Any, source: str) -> list[Look]:
    """The looks that JSON read from ``source`` holds. Raises UserError where it holds none of ours."""
    looks = [from_json(Look, look, source) for look in found] if isinstance(found, list) else None
    ages = len(AGE_CLASSES)
    if looks is None or any(len(look.similarities) != ages or len(look.years) != ages for look in looks):
        raise UserError(f"{source} is damaged: it should list looks at the {ages} ages.")
    return looks


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
        verdicts = look.verdicts or [None] * len(labels)
        seen = zip(labels, look.similarities, look.years, verdicts, strict=True)
        labels = [
            f"{label}\n{_seen(similarity, years, meant, look.years_error)}" for label, similarity, years, meant in seen
        ]
    return contact_sheet(pictures, labels, columns=3)


def _seen(similarity: float | None, years: float | None, verdict: str | None, error: float | None) -> str:
    if similarity is None:
        return "no face"
    lines = [f"similarity {similarity:.2f}"]
    if verdict:
        lines.append(verdict)
    if years is not None:
        lines.append(f"looks {years:.0f}" + ("" if error is None else f" \N{PLUS-MINUS SIGN} {error:.0f}"))
    return "\n".join(lines)


def sentences(looks: Sequence[Look]) -> list[str]:
    """Which step was best, beside the last; and what the judges cannot have seen."""
    last = looks[-1]
    chosen = best(looks) or last
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
    """An observer who knows the subject's photos."""

    observer: Observer
    references: list[Observation]

    @classmethod
    def of(cls, subject: SubjectSet, observer: Observer) -> "Judge":
        """A judge of likeness to the photos of ``subject``. Raises UserError where none of them has a face."""
        seen = [(photo, face) for photo, face in zip(subject.photos, subject.faces, strict=True) if face]
        if not seen:
            raise UserError(
                f"No face was found in any of the {len(subject.photos)} photos, so nobody can tell how alike the "
                "subject is while it trains. Use photos in which the face is larger, or train without a judge."
            )
        return cls(observer, [observer.read(photo.name, photo.image(), face, photo.age) for photo, face in seen])

    def look(self, step: int, pictures: Sequence[Image.Image]) -> Look:
        """What ``pictures``, one an age class in their order, show."""
        seen = [self.observer.observe(age, picture, age) for age, picture in zip(AGE_CLASSES, pictures, strict=True)]
        years = [one.estimate.years if one.estimate else None for one in seen]
        means = against(seen, self.references).nearest_in_age().means
        errors, thresholds = self.observer.age_errors, self.observer.embedder.facts.thresholds
        verdicts = [verdict(mean, thresholds) for mean in means] if thresholds else []
        return Look(step, means, years, verdicts, errors.mean_absolute if errors else None)
