"""Files that others published: which one it must be, where it lies, and how it is fetched when asked."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .files import file_sha256, written

TIMEOUT = (10, 30)  # s: to connect, and between two pieces
TRIES = 4
LARGEST = 1 << 28  # bytes, of a file whose size nobody recorded


@dataclass(frozen=True)
class Published:
    """One file, as its authors put it online."""

    name: str
    url: str  # empty: it is not to be had by itself
    sha256: str | None  # None: nobody recorded it, and only the shapes inside can be checked
    licence: str
    size: int = LARGEST  # bytes, at most

    def verify(self, path: Path, fetched: bool = False) -> None:
        """Raises UserError where the file at ``path`` is not this one; what was just ``fetched`` is not kept there."""
        if self.sha256 and (found := file_sha256(path)) != self.sha256:
            named, todo = (self.url, "It was not kept.") if fetched else (path, "Delete it and get it again.")
            raise UserError(
                f"{named} is not the published {self.name}: its SHA-256 is {found}, expected is {self.sha256}. It may "
                f"be half a download, or a web page instead of the file. {todo}"
            )


def check_there(wanted: Published, folder: Path, download: bool) -> None:
    """Raises UserError where ``wanted`` is not in ``folder`` and is not to be fetched either."""
    if not download and not (folder / wanted.name).is_file():
        raise UserError(
            f"{wanted.name} ({wanted.licence}) is not in {folder}. Download {wanted.url} into that folder, or have it "
            "fetched with the option download."
        )


def obtain(
    wanted: Published, folder: Path, download: bool, check: Callable[[Path], object] = lambda path: None
) -> Path:
    """Where ``wanted`` lies in ``folder``; with ``download`` it is fetched if it is missing.

    What was fetched gets its name only when its SHA-256 is the recorded one and ``check`` raises nothing. Raises
    UserError where the file is missing, is another one, or cannot be fetched.
    """
    path = folder / wanted.name
    if path.is_file():
        wanted.verify(path)
        return path
    check_there(wanted, folder, download)
    with written(path) as temporary:
        _fetch(wanted, temporary, folder)
        wanted.verify(temporary, fetched=True)
        check(temporary)
    return path


def _fetch(wanted: Published, path: Path, folder: Path) -> None:
    """The file at ``wanted.url`` into ``path``; after a fault it goes on where it stopped.

    Raises UserError, which tells whoever must do it by hand of ``folder``.
    """
    import requests

    problem: requests.RequestException | None = None
    for attempt in range(TRIES):
        time.sleep(attempt)
        try:
            _fetch_rest(wanted, path)
            return
        except requests.RequestException as error:
            problem = error
            if error.response is not None and error.response.status_code < 500:  # asking again changes nothing
                break
    raise UserError(
        f"{wanted.url} could not be downloaded ({problem}). Download it by hand into {folder}."
    ) from problem


def _fetch_rest(wanted: Published, path: Path) -> None:
    import requests
    from tqdm import tqdm

    there = path.stat().st_size if path.is_file() else 0
    headers = {"Range": f"bytes={there}-"} if there else {}
    # Compressed on the way, the length would say nothing of the file's.
    headers["Accept-Encoding"] = "identity"
    with requests.get(wanted.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        goes_on = answer.status_code == requests.codes.partial_content
        there = there if goes_on else 0
        total = there + int(answer.headers.get("Content-Length", 0))
        with (
            path.open("ab" if goes_on else "wb") as file,
            tqdm(desc=wanted.name, total=total or None, initial=there, unit="B", unit_scale=True) as bar,
        ):
            for piece in answer.iter_content(1 << 16):
                there += len(piece)
                if there > wanted.size:
                    raise UserError(f"{wanted.url} sends more than the {wanted.size} bytes of {wanted.name}: not kept.")
                file.write(piece)
                bar.update(len(piece))
        if there < total:
            raise requests.ConnectionError(f"it ended after {there} of {total} bytes")
