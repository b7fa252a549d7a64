"""The face embedders and age estimators that can be asked for by name."""

from pathlib import Path

import torch

from .faces import dlib_resnet, face_api, mobilefacenet
from .faces.age_estimators import AgeEstimator, CropAgeEstimator, clip_in
from .faces.embedders import Embedder, FaceEmbedder
from .faces.facenet import FACENET, FACENET_FACTS, FaceNet, check_facenet, open_facenet, weights_folder
from .published import check_there, obtain
from .world.shipped import age_estimator, world_embedder

DLIB, MOBILEFACENET = "dlib", "mobilefacenet"
DRAWN_EMBEDDERS = {"drawn-loss": "loss", "drawn-score": "score"}  # for faces drawn by program
UNTRAINED_FACENET = "untrained"  # for tests
EMBEDDERS = (*FACENET, DLIB, MOBILEFACENET, *DRAWN_EMBEDDERS, UNTRAINED_FACENET)
SCORERS = (MOBILEFACENET, DLIB, "casia-webface", "vggface2")  # the best first, by what was measured of them
DRAWN_AGES, DRAWN_AGE_JUDGE = "drawn-age", "drawn-age-judge"  # for drawn faces: to train with, and to judge with
FACE_API = "face-api"


def matcher_name(name: str) -> str:
    """What a report calls the embedder ``name``."""
    return f"FaceNet {name}" if name in FACENET else name


def how_made(name: str) -> str | None:
    """The network of the embedder ``name`` and what it was trained on, where that is known."""
    facts = {DLIB: dlib_resnet.FACTS, MOBILEFACENET: mobilefacenet.FACTS} | FACENET_FACTS
    return facts[name].made if name in facts else None


def load_embedder(name: str, folder: Path | None = None, download: bool = False) -> FaceEmbedder:
    """One of EMBEDDERS.

    Weights that do not come with the project are looked for in ``folder`` (default: facenet-pytorch's own), dlib's in
    its package first, and fetched into it only with ``download``. Raises UserError where they are missing or others.
    """
    folder = folder or weights_folder()
    if name == UNTRAINED_FACENET:
        from facenet_pytorch import InceptionResnetV1

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return FaceNet("untrained FaceNet (seed 0): its similarities mean nothing", InceptionResnetV1())
    if name in DRAWN_EMBEDDERS:
        return world_embedder(DRAWN_EMBEDDERS[name])
    if name == DLIB:
        network = dlib_resnet.read_dlib(dlib_resnet.weights_file(folder))
        return Embedder(DLIB, network, dlib_resnet.CROP, dlib_resnet.FACTS)
    if name == MOBILEFACENET:
        path = obtain(mobilefacenet.MOBILEFACENET, folder, download)
        network = mobilefacenet.read_mobilefacenet(path)
        return Embedder(MOBILEFACENET, network, mobilefacenet.CROP, mobilefacenet.FACTS)
    return open_facenet(folder / FACENET[name].name, download)


def check_embedder(name: str, folder: Path | None = None, download: bool = False) -> None:
    """Raises UserError where the weights of one of EMBEDDERS are missing and are not to be fetched either."""
    folder = folder or weights_folder()
    if name == DLIB:
        dlib_resnet.weights_file(folder)
    elif name == MOBILEFACENET:
        check_there(mobilefacenet.MOBILEFACENET, folder, download)
    elif name in FACENET:
        check_facenet(folder / FACENET[name].name, download)


def scorer(folder: Path | None = None, trained_with: str | None = None) -> str:
    """The best embedder that is there to score with, never the one of the identity loss."""
    others = [name for name in SCORERS if name != trained_with]
    there = (name for name in others if _is_there(name, folder or weights_folder()))
    return next(there, next(name for name in others if name in FACENET))


def _is_there(name: str, folder: Path) -> bool:
    if name == DLIB:
        return dlib_resnet.find_weights(folder) is not None
    published = mobilefacenet.MOBILEFACENET if name == MOBILEFACENET else FACENET[name]
    return (folder / published.name).is_file()


def load_age_estimator(source: str, folder: Path | None = None, download: bool = False) -> AgeEstimator:
    """``face-api``, whose files are found as an embedder's; one for drawn faces; or the CLIP in folder ``source``."""
    if source in (DRAWN_AGES, DRAWN_AGE_JUDGE):
        return CropAgeEstimator(age_estimator(source.removeprefix("drawn-")))
    if source != FACE_API:
        return clip_in(Path(source))
    files = [obtain(file, folder or weights_folder(), download) for file in (face_api.FACE_API, face_api.MANIFEST)]
    return CropAgeEstimator(face_api.read_face_api(*files), face_api.ERRORS)


def age_estimator_for(
    embedder: str, source: str | None = None, folder: Path | None = None, download: bool = False
) -> AgeEstimator | None:
    """The estimator that was asked for; else, for real faces, face-api's network where its files are; else None."""
    if source:
        return load_age_estimator(source, folder, download)
    files = (face_api.FACE_API, face_api.MANIFEST)
    there = all(((folder or weights_folder()) / file.name).is_file() for file in files)
    return load_age_estimator(FACE_API, folder) if there and embedder not in DRAWN_EMBEDDERS else None
