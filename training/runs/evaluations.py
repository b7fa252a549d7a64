"""A judge's evaluation of the previews: how alike the subject is, and how old it looks at each age."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from ..ages import AGE_CLASSES, TOLERANCE, display_name, years_off
from ..biometrics.comparisons import against
from ..biometrics.verdicts import verdict
from ..data.dataset import SubjectSet
from ..errors import DamagedFile, InvalidSetting, NoFaceFound
from ..faces.observation import Observation, Observer
from ..pictures.sheet import contact_sheet
from ..records import from_json
from ..weights import digest

PREVIEW_EVERY = 250  # training steps, by default


@dataclass(frozen=True)
class PreviewPlan:
    """When to preview, what judges the previews, and when to stop early.

    Previews every ``every`` steps (0: never) and after the last. ``observer`` judges each; its embedder should not be
    that of the identity loss. With ``patience``, training stops when neither identity nor age improved in that many
    previews. Raises UserError for negative numbers.
    """

    every: int
    observer: Observer | None = None
    patience: int = 0

    def __post_init__(self):
        if self.every < 0 or self.patience < 0:
            raise InvalidSetting(
                f"Previews every {self.every} steps with patience {self.patience}: both numbers must be 0 or more."
            )

    @property
    def key(self) -> str:
        """Identifies the judge among a run's inputs; empty without one, since previews change no result."""
        if not self.observer:
            return ""
        weights = digest(self.observer.embedder.state_dict())[:12]
        return f"{self.observer.name} ({weights}), every {self.every} steps, patience {self.patience}"


@dataclass(frozen=True)
class Evaluation:
    """The evaluation after ``step`` of one image per age class."""

    step: int
    similarities: list[float | None]  # mean cosine with the photos nearest in age; None: no face
    years: list[float | None]  # estimated; None: no face or no estimator
    verdicts: list[str | None] = field(default_factory=list)  # empty if the matcher has no measured thresholds
    years_error: float | None = None  # mean absolute error of the estimator, if measured

    @property
    def identity(self) -> float:
        """The mean similarity, in [0, 1]. Images without a face and negative similarities count as 0."""
        return sum(max(0.0, similarity or 0.0) for similarity in self.similarities) / len(self.similarities)

    @property
    def age(self) -> float:
        """How right the ages are, in [0, 1]: 1 within the class, 0 without a face or TOLERANCE years outside it.

        1 without an age estimator.
        """
        if not any(years is not None for years in self.years):
            return 1.0
        pairs = zip(self.years, AGE_CLASSES, strict=True)
        rights = [0.0 if years is None else max(0.0, 1 - years_off(years, age) / TOLERANCE) for years, age in pairs]
        return sum(rights) / len(rights)

    @property
    def score(self) -> float:
        """Identity x age, which chooses the best step."""
        return self.identity * self.age


def read_evaluations(found: Any, source: str) -> list[Evaluation]:
    """The evaluations in JSON read from ``source``. Raises UserError if it is damaged."""
    evaluations = (
        [from_json(Evaluation, evaluation, source) for evaluation in found] if isinstance(found, list) else None
    )
    ages = len(AGE_CLASSES)
    if evaluations is None or any(
        len(evaluation.similarities) != ages or len(evaluation.years) != ages for evaluation in evaluations
    ):
        raise DamagedFile(f"{source} is damaged: it should list evaluations of the {ages} ages.")
    return evaluations


def best(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The evaluation with the highest score, the earliest of equals; None if there is none."""
    return max(evaluations, key=lambda evaluation: evaluation.score, default=None)


def gained(evaluations: Sequence[Evaluation], patience: int) -> bool:
    """Whether identity or age improved in the last ``patience`` evaluations."""
    before, last = evaluations[:-patience], evaluations[-patience:]
    return not before or any(
        max(getattr(evaluation, part) for evaluation in last) > max(getattr(evaluation, part) for evaluation in before)
        for part in ("identity", "age")
    )


def evaluation_sheet(pictures: list[Image.Image], evaluation: Evaluation | None = None) -> Image.Image:
    """The six images in two rows, each with its age and the evaluation if there is one."""
    labels = [display_name(age) for age in AGE_CLASSES]
    if evaluation:
        verdicts = evaluation.verdicts or [None] * len(labels)
        seen = zip(labels, evaluation.similarities, evaluation.years, verdicts, strict=True)
        labels = [
            f"{label}\n{_seen(similarity, years, meant, evaluation.years_error)}"
            for label, similarity, years, meant in seen
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


def sentences(evaluations: Sequence[Evaluation]) -> list[str]:
    """Sentences that name the best step and the last."""
    last = evaluations[-1]
    chosen = best(evaluations) or last
    lines = [f"Best of {len(evaluations)} previews: step {chosen.step}, {_words(chosen)}."]
    if chosen != last:
        lines.append(f"The last, step {last.step}: {_words(last)}.")
    if not any(years is not None for evaluation in evaluations for years in evaluation.years):
        lines.append("There was no age estimator, so the best step is only the most similar one.")
    return lines


def _words(evaluation: Evaluation) -> str:
    missing = evaluation.similarities.count(None)
    return f"identity {evaluation.identity:.2f} x age {evaluation.age:.2f}" + (
        f", {missing} without a face" if missing else ""
    )


@dataclass(frozen=True)
class Judge:
    """An observer with embeddings of the subject's photos to compare with."""

    observer: Observer
    references: list[Observation]

    @classmethod
    def of(cls, subject: SubjectSet, observer: Observer) -> "Judge":
        """Embeds the photos of ``subject``. Raises UserError if none has a face."""
        seen = [(photo, face) for photo, face in zip(subject.photos, subject.faces, strict=True) if face]
        if not seen:
            raise NoFaceFound(
                f"The judge needs a face to compare with, and none was found in the {len(subject.photos)} photos. Use "
                "photos with a larger face, or train without a judge."
            )
        return cls(observer, [observer.read(photo.name, photo.image(), face, photo.age) for photo, face in seen])

    def evaluate(self, step: int, pictures: Sequence[Image.Image]) -> Evaluation:
        """Evaluates ``pictures``, one per age class in their order."""
        seen = [self.observer.observe(age, picture, age) for age, picture in zip(AGE_CLASSES, pictures, strict=True)]
        years = [one.estimate.years if one.estimate else None for one in seen]
        means = against(seen, self.references).nearest_in_age().means
        errors, thresholds = self.observer.age_errors, self.observer.embedder.facts.thresholds
        verdicts = [verdict(mean, thresholds) for mean in means] if thresholds else []
        return Evaluation(step, means, years, verdicts, errors.mean_absolute if errors else None)
