"""Face embedders and age estimators by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from .faces import dlib_resnet, face_api, mobilefacenet
from .faces.age_estimators import AgeEstimator, CropAgeEstimator, clip_in
from .faces.embedders import Embedder, FaceEmbedder
from .faces.facenet import FACENET, FACENET_FACTS, FaceNet, check_facenet, open_facenet, weights_folder
from .published import check_there, obtain
from .world.shipped import age_estimator, world_embedder

DLIB, MOBILEFACENET = "dlib", "mobilefacenet"
SYNTHETIC_EMBEDDERS = {"drawn-loss": "loss", "drawn-score": "score"}  # for synthetic faces
UNTRAINED_FACENET = "untrained"  # for tests
SCORERS = (MOBILEFACENET, DLIB, "casia-webface", "vggface2")  # the best first, as measured by lab/judges.py
SYNTHETIC_AGES, SYNTHETIC_AGE_JUDGE = (
    "drawn-age",
    "drawn-age-judge",
)  # for synthetic faces: for training, and for scoring
FACE_API = "face-api"


def matcher_name(name: str) -> str:
    """Returns the display name of the embedder ``name`` for reports."""
    return f"FaceNet {name}" if name in FACENET else name


def how_made(name: str) -> str | None:
    """Returns the architecture and training data of the embedder ``name``, or None if unknown."""
    facts = {DLIB: dlib_resnet.FACTS, MOBILEFACENET: mobilefacenet.FACTS} | FACENET_FACTS
    return facts[name].made if name in facts else None


@dataclass(frozen=True)
class _Entry:
    """How to open an embedder from a folder of weights, and how to check that its weights are there."""

    open: Callable[[Path, bool], FaceEmbedder]
    check: Callable[[Path, bool], object] = lambda folder, download: None


def _untrained(folder: Path, download: bool) -> FaceEmbedder:
    from facenet_pytorch import InceptionResnetV1

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FaceNet("untrained FaceNet (seed 0): its similarities mean nothing", InceptionResnetV1())


def _dlib(folder: Path, download: bool) -> FaceEmbedder:
    network = dlib_resnet.read_dlib(dlib_resnet.weights_file(folder))
    return Embedder(DLIB, network, dlib_resnet.CROP, dlib_resnet.FACTS)


def _mobilefacenet(folder: Path, download: bool) -> FaceEmbedder:
    network = mobilefacenet.read_mobilefacenet(obtain(mobilefacenet.MOBILEFACENET, folder, download))
    return Embedder(MOBILEFACENET, network, mobilefacenet.CROP, mobilefacenet.FACTS)


def _facenet(name: str) -> _Entry:
    file = FACENET[name].name
    return _Entry(
        lambda folder, download: open_facenet(folder / file, download),
        lambda folder, download: check_facenet(folder / file, download),
    )


def _synthetic(network: str) -> _Entry:
    return _Entry(lambda folder, download: world_embedder(network))


_ENTRIES = {
    **{name: _facenet(name) for name in FACENET},
    DLIB: _Entry(_dlib, lambda folder, download: dlib_resnet.weights_file(folder)),
    MOBILEFACENET: _Entry(
        _mobilefacenet, lambda folder, download: check_there(mobilefacenet.MOBILEFACENET, folder, download)
    ),
    **{name: _synthetic(network) for name, network in SYNTHETIC_EMBEDDERS.items()},
    UNTRAINED_FACENET: _Entry(_untrained),
}
EMBEDDERS = tuple(_ENTRIES)


def load_embedder(name: str, folder: Path | None = None, download: bool = False) -> FaceEmbedder:
    """Loads the embedder ``name``, one of EMBEDDERS.

    Weights that this project does not ship are read from ``folder`` (default: facenet-pytorch's own), dlib's from its
    Python package first; they are downloaded into ``folder`` only with ``download``. Raises UserError if the weights
    are missing or are not the published ones.
    """
    return _ENTRIES[name].open(folder or weights_folder(), download)


def check_embedder(name: str, folder: Path | None = None, download: bool = False) -> None:
    """Raises UserError if the weights of ``name``, one of EMBEDDERS, are missing and ``download`` is off."""
    _ENTRIES[name].check(folder or weights_folder(), download)


def scorer(folder: Path | None = None, trained_with: str | None = None) -> str:
    """Returns the best embedder for scoring whose weights are present, other than ``trained_with``.

    Returns a FaceNet if none is present.
    """
    candidates = [name for name in SCORERS if name != trained_with]
    present = (name for name in candidates if _is_present(name, folder or weights_folder()))
    return next(present, next(name for name in candidates if name in FACENET))


def _is_present(name: str, folder: Path) -> bool:
    if name == DLIB:
        return dlib_resnet.find_weights(folder) is not None
    published = mobilefacenet.MOBILEFACENET if name == MOBILEFACENET else FACENET[name]
    return (folder / published.name).is_file()


def load_age_estimator(source: str, folder: Path | None = None, download: bool = False) -> AgeEstimator:
    """Loads an age estimator: ``face-api``, one for synthetic faces, or the CLIP in the folder ``source``.

    ``folder`` and ``download`` work as in load_embedder. Raises UserError if files are missing or damaged.
    """
    if source in (SYNTHETIC_AGES, SYNTHETIC_AGE_JUDGE):
        return CropAgeEstimator(age_estimator(source.removeprefix("drawn-")))
    if source != FACE_API:
        return clip_in(Path(source))
    files = [obtain(file, folder or weights_folder(), download) for file in (face_api.FACE_API, face_api.MANIFEST)]
    return CropAgeEstimator(face_api.read_face_api(*files), face_api.ERRORS)


def age_estimator_for(
    embedder: str, source: str | None = None, folder: Path | None = None, download: bool = False
) -> AgeEstimator | None:
    """Returns the age estimator ``source`` if given.

    Otherwise returns face-api's network if its files are present and ``embedder`` is for real faces, else None.
    """
    if source:
        return load_age_estimator(source, folder, download)
    files = (face_api.FACE_API, face_api.MANIFEST)
    present = all(((folder or weights_folder()) / file.name).is_file() for file in files)
    return load_age_estimator(FACE_API, folder) if present and embedder not in SYNTHETIC_EMBEDDERS else None
