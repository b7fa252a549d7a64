"""How well identity survived: cosine similarity of each picture's face to the subject's references."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .ages import display_name, leading_age_class, parse_age


@dataclass(frozen=True)
class Comparison:
    """One picture against the references. Similarities are cosines in [-1, 1]; None where no face was found."""

    image: str
    age: str | int | None
    face_found: bool
    mean_similarity: float | None
    best_similarity: float | None
    best_reference: str | None


@dataclass(frozen=True)
class Report:
    """Every picture, and as the yardstick every reference against the others (leave one out)."""

    matcher: str
    images: list[Comparison]
    references: list[Comparison]

    @property
    def failures_to_detect(self) -> int:
        """Pictures in which no face was found."""
        return sum(not row.face_found for row in self.images)

    def summary(self) -> dict:
        """Counts and means over the pictures with a face; a mean over none is None."""
        return {
            "matcher": self.matcher,
            "images": len(self.images),
            "failures_to_detect": self.failures_to_detect,
            "mean_similarity": _mean(self.images),
            "references": len(self.references),
            "references_without_face": sum(not row.face_found for row in self.references),
            "leave_one_out_similarity": _mean(self.references),
        }

    def table(self) -> str:
        """The report as people read it."""
        width = max(len(row.image) for row in self.images + self.references)
        lines = [f"matcher: {self.matcher}", f"{'image':{width}}  {'age':13}  similarity (mean  best)  face"]
        lines += [_line(row, width) for row in self.images]
        summary = self.summary()
        lines.append(
            f"mean of {len(self.images) - self.failures_to_detect} faces: {_number(summary['mean_similarity'])}"
        )
        lines.append(
            f"yardstick, each of {len(self.references) - summary['references_without_face']} references against the "
            f"others: {_number(summary['leave_one_out_similarity'])}"
        )
        if self.failures_to_detect:
            lines.append(f"failures to detect: {self.failures_to_detect} of {len(self.images)} images")
        if not any(row.face_found for row in self.references):
            lines.append(
                f"No face was found in any of the {len(self.references)} reference photos: nothing to compare."
            )
        elif summary["references_without_face"]:
            lines.append(f"references without a face: {summary['references_without_face']} of {len(self.references)}")
        return "\n".join(lines)


def score(images: dict[str, Tensor | None], references: dict[str, Tensor | None], matcher: str) -> Report:
    """Compares unit vectors [D] by picture name; None stands for a picture without a face.

    Where no reference has a face there is nothing to compare with, and no picture has a similarity.
    """
    known = {name: vector for name, vector in references.items() if vector is not None}
    return Report(
        matcher,
        [_compare(name, vector, known) for name, vector in images.items()],
        [
            _compare(name, vector, {other: known[other] for other in known if other != name})
            for name, vector in references.items()
        ],
    )


def _compare(name: str, vector: Tensor | None, references: dict[str, Tensor]) -> Comparison:
    if vector is None or not references:
        return Comparison(name, age_of(name), vector is not None, None, None, None)
    similarities = torch.nn.functional.cosine_similarity(vector[None], torch.stack(list(references.values())))
    best = int(similarities.argmax())
    return Comparison(
        name, age_of(name), True, similarities.mean().item(), similarities[best].item(), list(references)[best]
    )


def age_of(name: str) -> str | int | None:
    """The age that a picture's file name begins with ("elderly.png", "45-year-old.png"), or None."""
    stem = Path(name).stem
    years = re.match(r"\d+-year-old", stem)
    return parse_age(years.group()) if years else leading_age_class(stem)


def _mean(rows: list[Comparison]) -> float | None:
    values = [row.mean_similarity for row in rows if row.mean_similarity is not None]
    return sum(values) / len(values) if values else None


def _number(value: float | None) -> str:
    return "  -  " if value is None else f"{value:5.3f}"


def _line(row: Comparison, width: int) -> str:
    age = "" if row.age is None else display_name(row.age)
    found = "found" if row.face_found else "NOT FOUND"
    return (
        f"{row.image:{width}}  {age:13}  {_number(row.mean_similarity):>16}  {_number(row.best_similarity):5}  {found}"
    )
