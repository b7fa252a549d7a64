"""Files that others published: their URL, checksum and licence, and how to download them on request."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import DamagedFile, DownloadFailed, MissingFile
from .files import file_sha256, written

TIMEOUT = (10, 30)  # s: to connect, and between two chunks
TRIES = 4
LARGEST = 1 << 28  # bytes; size limit of a file without a recorded size


@dataclass(frozen=True)
class Published:
    """One published file."""

    name: str
    url: str  # empty: not available as a single download
    sha256: str | None  # None: not recorded; only the shapes of the tensors inside can be checked
    licence: str
    size: int = LARGEST  # bytes; upper limit

    def verify(self, path: Path, downloaded: bool = False) -> None:
        """Raises UserError if the SHA-256 of ``path`` is not the recorded one. ``downloaded``: it came from ``url``."""
        if self.sha256 and (actual := file_sha256(path)) != self.sha256:
            source, advice = (
                (self.url, "It was not kept.") if downloaded else (path, "Delete it and download it again.")
            )
            raise DamagedFile(
                f"{source} is not the published {self.name}: its SHA-256 is {actual}, expected {self.sha256}. It may "
                f"be an incomplete download, or a web page instead of the file. {advice}"
            )


def check_there(wanted: Published, folder: Path, download: bool) -> None:
    """Raises UserError if ``wanted`` is not in ``folder`` and ``download`` is off."""
    if not download and not (folder / wanted.name).is_file():
        raise MissingFile(
            f"{wanted.name} ({wanted.licence}) is not in {folder}. Download {wanted.url} into that folder, or turn "
            "on the option download."
        )


def obtain(
    wanted: Published, folder: Path, download: bool, check: Callable[[Path], object] = lambda path: None
) -> Path:
    """Returns the path of ``wanted`` in ``folder``; downloads it first if it is missing and ``download`` is on.

    A download is kept only if its SHA-256 is the recorded one and ``check(path)`` does not raise. Raises UserError if
    the file is missing, is not the published one, or cannot be downloaded.
    """
    path = folder / wanted.name
    if path.is_file():
        wanted.verify(path)
        return path
    check_there(wanted, folder, download)
    with written(path) as temporary:
        _download(wanted, temporary, folder)
        wanted.verify(temporary, downloaded=True)
        check(temporary)
    return path


def _download(wanted: Published, path: Path, folder: Path) -> None:
    """Downloads ``wanted.url`` to ``path``, and after an error continues where it stopped, up to TRIES times.

    Raises UserError if that fails; the message names ``folder`` for a download by hand.
    """
    import requests

    problem: requests.RequestException | None = None
    for attempt in range(TRIES):
        time.sleep(attempt)
        try:
            _download_rest(wanted, path)
            return
        except requests.RequestException as error:
            problem = error
            if error.response is not None and error.response.status_code < 500:  # a retry would get the same answer
                break
    raise DownloadFailed(
        f"{wanted.url} could not be downloaded ({problem}). Download it by hand into {folder}."
    ) from problem


def _download_rest(wanted: Published, path: Path) -> None:
    """Appends to ``path`` what it lacks of ``wanted.url``; starts over if the server does not support ranges."""
    import requests
    from tqdm import tqdm

    size = path.stat().st_size if path.is_file() else 0
    headers = {"Range": f"bytes={size}-"} if size else {}
    # With compression, Content-Length would not be the length of the file.
    headers["Accept-Encoding"] = "identity"
    with requests.get(wanted.url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        size = size if resumed else 0
        total = size + int(response.headers.get("Content-Length", 0))
        with (
            path.open("ab" if resumed else "wb") as file,
            tqdm(desc=wanted.name, total=total or None, initial=size, unit="B", unit_scale=True) as bar,
        ):
            for chunk in response.iter_content(1 << 16):
                size += len(chunk)
                if size > wanted.size:
                    raise DownloadFailed(
                        f"{wanted.url} sends more than the {wanted.size} bytes of {wanted.name}, so it is not that "
                        "file. It was not kept."
                    )
                file.write(chunk)
                bar.update(len(chunk))
        if size < total:
            raise requests.ConnectionError(f"it ended after {size} of {total} bytes")
