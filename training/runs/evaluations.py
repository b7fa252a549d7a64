"""A judge's evaluation of the previews: the subject's identity and apparent age in each image."""

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
        """The mean age accuracy in [0, 1]: 1 per image within its class, falling to 0 at TOLERANCE years outside.

        Images without a face count as 0. Without an age estimator, the result is 1.
        """
        if not any(years is not None for years in self.years):
            return 1.0
        pairs = zip(self.years, AGE_CLASSES, strict=True)
        accuracies = [0.0 if years is None else max(0.0, 1 - years_off(years, age) / TOLERANCE) for years, age in pairs]
        return sum(accuracies) / len(accuracies)

    @property
    def score(self) -> float:
        """Identity x age, which chooses the best step."""
        return self.identity * self.age


def read_evaluations(entries: Any, source: str) -> list[Evaluation]:
    """The evaluations in JSON read from ``source``. Raises UserError if it is damaged."""
    evaluations = (
        [from_json(Evaluation, evaluation, source) for evaluation in entries] if isinstance(entries, list) else None
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


def evaluation_sheet(images: list[Image.Image], evaluation: Evaluation | None = None) -> Image.Image:
    """The six images in two rows, each with its age and the evaluation if there is one."""
    labels = [display_name(age) for age in AGE_CLASSES]
    if evaluation:
        verdicts = evaluation.verdicts or [None] * len(labels)
        rows = zip(labels, evaluation.similarities, evaluation.years, verdicts, strict=True)
        labels = [
            f"{label}\n{_label(similarity, years, likelihood, evaluation.years_error)}"
            for label, similarity, years, likelihood in rows
        ]
    return contact_sheet(images, labels, columns=3)


def _label(similarity: float | None, years: float | None, likelihood: str | None, error: float | None) -> str:
    if similarity is None:
        return "no face"
    lines = [f"similarity {similarity:.2f}"]
    if likelihood:
        lines.append(likelihood)
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
        lines.append("No age estimator was used, so the best step is the most similar one.")
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
        with_face = [(photo, face) for photo, face in zip(subject.photos, subject.faces, strict=True) if face]
        if not with_face:
            raise NoFaceFound(
                f"The judge needs a face to compare with, and none was found in the {len(subject.photos)} photos. Use "
                "photos with a larger face, or train without a judge."
            )
        return cls(observer, [observer.read(photo.name, photo.image(), face, photo.age) for photo, face in with_face])

    def evaluate(self, step: int, images: Sequence[Image.Image]) -> Evaluation:
        """Evaluates ``images``, one per age class in the order of AGE_CLASSES."""
        observations = [self.observer.observe(age, image, age) for age, image in zip(AGE_CLASSES, images, strict=True)]
        years = [observation.estimate.years if observation.estimate else None for observation in observations]
        means = against(observations, self.references).nearest_in_age().means
        errors, thresholds = self.observer.age_errors, self.observer.embedder.facts.thresholds
        verdicts = [verdict(mean, thresholds) for mean in means] if thresholds else []
        return Evaluation(step, means, years, verdicts, errors.mean_absolute if errors else None)
