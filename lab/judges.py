"""Measures matchers and age estimator on real faces. The numbers in training/faces come from here.

usage: python -m lab.judges FAIRFACE SUBJECT OUT [WEIGHTS]

FAIRFACE holds images of different people, and ground_truth.json with "filename" and "age" ("20-29", "70+") per image.
SUBJECT holds photos of one person. Prints thresholds, error rates and age errors; writes a DET plot per matcher to OUT.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from training.ages import AGE_CLASSES, class_of
from training.biometrics.comparisons import against, among
from training.biometrics.rates import equal_error_rate, fmr, fnmr, fnmr_at_fmr
from training.catalogue import DLIB, FACE_API, MOBILEFACENET, load_age_estimator, load_embedder
from training.faces.crops import landmarks_of
from training.faces.embedders import CHILD
from training.faces.find import MTCNNDetector
from training.faces.observation import Observer
from training.pictures.photos import read_folder, save, to_tensor
from training.report.build import Networks, build
from training.report.plots import det_plot

Bin = tuple[int, int]  # first and last year
OLDEST = 89  # years, used as the end of "70+"


def bins_of(folder: Path) -> dict[str, Bin]:
    """Returns the age bin of each image by file name."""
    bins = {}
    for row in json.loads((folder / "ground_truth.json").read_text()):
        first, last = re.fullmatch(r"(\d+)(?:-(\d+)|\+)", row["age"]).groups()
        bins[row["filename"]] = int(first), int(last or OLDEST)
    return bins


def faces_in(folder: Path, only=None) -> list[tuple]:
    """Returns name, image and main face of each image with a face."""
    detector = MTCNNDetector()
    photos = [photo for photo in read_folder(folder, "faces") if only is None or photo.name in only]
    faces = [(photo.name, photo.image(), next(iter(detector(photo.image())), None)) for photo in photos]
    return [face for face in faces if face[2]]


def read(observer: Observer, faces: list[tuple]):
    return [observer.read(name, image, face) for name, image, face in faces]


def measure_matcher(
    name: str, people_faces, photo_faces, bins: dict[str, Bin], out: Path, weights: Path | None
) -> None:
    embedder = load_embedder(name, weights)
    observer = Observer(MTCNNDetector(), embedder)
    people, photos = read(observer, people_faces), read(observer, photo_faces)
    child = np.array([bins[person.name][1] < CHILD for person in people])
    first, second = np.triu_indices(len(people), 1)
    pairs, both_children = against(people, people).matrix[first, second], child[first] & child[second]
    one_child = child[first] ^ child[second]
    mated, non_mated = among(photos).each_pair_once().similarities, against(people, photos).similarities
    print(f"{name}: {len(people)} people, {pairs.size} pairs, {(~both_children).sum()} without pairs of two children")
    for target in (0.01, 0.001):
        point, plain = fnmr_at_fmr(mated, pairs[~both_children], target), fnmr_at_fmr(mated, pairs, target)
        print(
            f"  FMR {100 * target:g} %: threshold {point.threshold:.4f}, FNMR {point.fnmr:.3f} of {mated.size} mated "
            f"pairs, FMR of {both_children.sum()} pairs of two children "
            f"{fmr(pairs[both_children], point.threshold):.3f}, of {one_child.sum()} pairs with one child "
            f"{fmr(pairs[one_child], point.threshold):.4f}; over all pairs: threshold "
            f"{plain.threshold:.4f}, FNMR {plain.fnmr:.3f}"
        )
    print(f"  EER against the subject's photos {100 * equal_error_rate(mated, non_mated).value:.2f} %")
    print(f"  mated {mated.min():.2f} to {mated.max():.2f}, non-mated {non_mated.min():.2f} to {non_mated.max():.2f}")
    for side in (64, 48, 40, 32, 24):
        scores = against(read(observer, [shrunk(face, side) for face in photo_faces]), photos).matrix
        rate = fnmr(scores[~np.eye(len(photos), dtype=bool)], embedder.facts.thresholds.fmr_01)
        print(f"  faces of {side} px: FNMR {rate:.3f} at FMR 0.1 %")
    if name == DLIB:
        distances(embedder, people_faces, photo_faces)
    save(det_plot(build([], photos, Networks(name), people)), out / f"det-{name}.png")


def shrunk(named_face: tuple, side: int) -> tuple:
    """Resizes an image so that its face has ``side`` px."""
    name, image, face = named_face
    scale = side / face.side
    size = [round(length * scale) for length in image.size]
    return name, image.resize(size, Image.Resampling.LANCZOS), face.moved(0, 0, scale)


@torch.no_grad()
def distances(embedder, people_faces, photo_faces) -> None:
    """Prints error rates at dlib's recommended threshold, a Euclidean distance of 0.6 between unnormalized outputs."""
    photos, people = (
        torch.cat(
            [
                embedder.network(embedder.crop(to_tensor(image), torch.zeros(1, 4), landmarks_of([face])))
                for _, image, face in faces
            ]
        )
        for faces in (photo_faces, people_faces)
    )
    mated = -torch.cdist(photos, photos)[tuple(np.triu_indices(len(photos), 1))].numpy()
    non_mated = -torch.cdist(people, photos).flatten().numpy()
    print(f"  distance 0.6: FNMR {100 * fnmr(mated, -0.6):.2f} %, FMR {100 * fmr(non_mated, -0.6):.2f} %")


def measure_ages(people_faces, bins: dict[str, Bin], weights: Path | None) -> None:
    estimator = load_age_estimator(FACE_API, weights)
    years = np.array([estimator(image, face).years for _, image, face in people_faces])
    ends = np.array([bins[name] for name, _, _ in people_faces])
    off = abs(years - (ends.sum(1) + 1) / 2)
    print(f"{FACE_API}: mean absolute error {off.mean():.1f} years over {len(years)} faces")
    for low, high in sorted(set(map(tuple, ends.tolist()))):
        chosen = (ends == (low, high)).all(1)
        print(f"  {low}-{high}: {chosen.sum()} faces, mean {years[chosen].mean():.1f}, off {off[chosen].mean():.1f}")
    for age in AGE_CLASSES:  # only bins mostly within one class; in others the true class is unknown
        shares = [np.mean([class_of(year) == age for year in range(low, high + 1)]) for low, high in ends]
        chosen = np.array(shares) > 2 / 3
        right = np.mean([class_of(estimate) == age for estimate in years[chosen]])
        print(f"  {age}: {chosen.sum()} faces, {right:.2f} right, off {off[chosen].mean():.1f}")


def main() -> None:
    fairface, subject, out, *weights = map(Path, sys.argv[1:])
    weights, bins = weights[0] if weights else None, bins_of(fairface)
    people, photos = faces_in(fairface, bins), faces_in(subject)
    out.mkdir(parents=True, exist_ok=True)
    measure_ages(people, bins, weights)
    for name in (DLIB, MOBILEFACENET):
        measure_matcher(name, people, photos, bins, out, weights)


if __name__ == "__main__":
    main()
