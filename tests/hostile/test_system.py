"""Full disks, read-only folders, names that are too long, killed writers, and names with control characters."""

import contextlib
import csv
import io
import os
import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.hostile.results import assert_told, refused
from training.__main__ import main
from training.cli.console import harmless
from training.errors import Unavailable
from training.files import PARTIAL, check_room, check_writable, clear_partial, written
from training.options import option, spelled
from training.report.files import _cell
from training.weights import read_state_dict

resource = pytest.importorskip("resource")
LATIN = os.fsdecode("Jos\u00e9".encode("latin-1"))  # not UTF-8


def write_file(kind, path):
    if kind == "text":
        path.write_text("a" * 100_000)
    elif kind == "picture":
        Image.effect_noise((256, 256), 50).save(path)
    elif kind == "pickle":
        torch.save({"a": torch.zeros(30_000)}, path)
    else:
        save_file({"a": torch.zeros(30_000)}, path)


KINDS = {"text": "a.json", "picture": "a.png", "pickle": "a.pt", "weights": "a.safetensors"}


@contextlib.contextmanager
def full_disk():
    """Limits files to 4 KB, like a full disk. Pytest's own output has the same limit, so use it only around a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_write_without_space_keeps_the_previous_file(tmp_path, kind):
    path = tmp_path / KINDS[kind]
    path.write_bytes(b"before")
    with (
        refused(path, re.compile(r"File too large|\bdisk\b"), error=Unavailable),
        full_disk(),
        written(path) as temporary,
    ):
        write_file(kind, temporary)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_every_kind_of_file_gets_the_default_mode(tmp_path, mask):
    before = os.umask(mask)
    try:
        for kind, name in KINDS.items():
            with written(tmp_path / "new" / name) as temporary:
                write_file(kind, temporary)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {0o666 & ~mask}


def test_an_error_in_the_block_is_raised_unchanged(tmp_path):
    with pytest.raises(RuntimeError, match="mine"), written(tmp_path / "a"):
        raise RuntimeError("mine")
    assert list(tmp_path.iterdir()) == []


def test_file_and_folder_are_synced_to_disk_in_order(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace
    descriptors = Path("/dev/fd")
    monkeypatch.setattr(os, "fsync", lambda fd: (fsync(fd), events.append((descriptors / str(fd)).readlink())))
    monkeypatch.setattr(Path, "replace", lambda *paths: (replace(*paths), events.append("replaced")))
    with written(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    assert events == [temporary, "replaced", tmp_path]


def in_child(work):
    """Runs ``work`` in a fork and returns its exit code."""
    if not (child := os.fork()):
        try:
            os._exit(work())
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_partial_files_of_killed_writers_are_cleared_after_a_while(tmp_path):
    def killed():
        with written(tmp_path / "a.txt") as temporary:
            temporary.with_name(".tmpOfSafetensors").write_text("half")
            os._exit(9)

    assert [in_child(killed), in_child(killed)] == [9, 9]
    assert len(list(tmp_path.glob(f"{PARTIAL}*"))) == 2
    clear_partial(tmp_path, older_than=3600)
    assert len(list(tmp_path.glob(f"{PARTIAL}*"))) == 2
    (tmp_path / "kept.txt").touch()
    clear_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_what_is_only_named_like_a_partial_file_is_kept(tmp_path):
    """A folder of the user's, a file and a link."""
    (tmp_path / f"{PARTIAL}holiday").mkdir()
    (tmp_path / f"{PARTIAL}holiday" / "a.txt").touch()
    (tmp_path / ".partial-downloads").mkdir()
    (tmp_path / f"{PARTIAL}abcdefgh").touch()
    (tmp_path / f"{PARTIAL}abcdefgi").symlink_to(tmp_path / ".partial-downloads")
    (tmp_path / f"{PARTIAL}abcdefgj").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    for path in before:
        os.utime(path, (0, 0), follow_symlinks=False)
    clear_partial(tmp_path)
    assert main(["world", "--photos", str(tmp_path), "--years", "200"]) == 2  # it also clears what is an hour old
    assert sorted(tmp_path.rglob("*")) == before


def test_two_writers_of_one_file_do_not_interfere(tmp_path):
    with written(tmp_path / "a.txt") as first, written(tmp_path / "a.txt") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a.txt").read_text() == "first"  # because the outer block ends last


REFUSED = {
    "a file": ("file", "Not a directory"),
    "under a file": ("file/deeper", "Not a directory"),
    "too long": ("a" * 250, "File name too long"),
    "in too long": ("a" * 300 + "/b", "File name too long"),
}
COMMANDS = {
    "train": "train --checkpoint none --subject none --out {}",
    "generate": "generate --subject none --out {}",
    "score": "score --reference none --images none --report {}/report.html",
    "world": "world --photos {}",
    "demo": "demo --out {}",
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch, capsys, command, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    name, reason = REFUSED[case]
    if command == "score" and case == "too long":
        name = "a" * 300
    assert main(COMMANDS[command].format(name).split()) == 2
    assert_told(capsys.readouterr().err, name, reason)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "score"])
def test_the_root_cannot_be_the_output_folder(capsys, command):
    assert main(COMMANDS[command].format("/").split()) == 2
    assert_told(capsys.readouterr().err, re.compile(r"(?<!\S)/(?!\S)"))


def test_the_current_folder_can_be_the_output_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["world", "--photos", "."]) == 0
    assert (tmp_path / "photos").is_dir()
    options = ["--checkpoint", "missing.safetensors", "--subject", "photos", "--loss", "none"]
    assert main(["train", *options, "--out", "."]) == 2
    assert_told(capsys.readouterr().err, "missing.safetensors")


def test_a_check_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "a" / "b" / "c.txt")
    assert list(tmp_path.iterdir()) == []
    with refused(tmp_path) as raised:
        check_writable(tmp_path)
    assert raised.value.__cause__ is None, "it is a folder; no write was tried"
    with refused(tmp_path / LATIN / "a.safetensors", "UTF-8"):
        check_writable(tmp_path / LATIN / "a.safetensors")


def test_free_space_is_measured_where_the_folder_will_be(tmp_path):
    check_room(tmp_path / "new", 1)
    with refused(tmp_path / "new", re.compile(r"1000000000\.00 GB.*\d\.\d\d GB"), error=Unavailable):
        check_room(tmp_path / "new", 10**18)


@pytest.fixture
def closed():
    """A folder that all users may open, with a folder and a file inside that only root may open."""
    with tempfile.TemporaryDirectory() as folder:  # only root may open pytest's own
        root = Path(folder)
        root.chmod(0o777)
        (root / "closed" / "in").mkdir(parents=True)
        for name in ("closed/in/a.safetensors", "a.safetensors"):
            (root / name).touch(mode=0)
        (root / "closed").chmod(0)
        yield root


ONLY_ROOT = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can switch to another user")
DENIED = {
    "subject": "generate --out {0}/sheets --subject {0}/closed/in",
    "pictures": "score --images {0}/closed/in --reference {0}/closed/in",
    "the folder itself": "score --images {0}/closed --reference {0}/closed",
    "output": "world --photos {0}/closed/in/photos",
}


@ONLY_ROOT
@pytest.mark.parametrize("case", DENIED)
def test_missing_permission_is_reported_as_such(closed, case):
    def as_other_user():
        os.setuid(65534)
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            code = main(DENIED[case].format(closed).split())
        assert_told(stderr.getvalue(), closed, "Permission denied")
        return code

    assert in_child(as_other_user) == 2


@ONLY_ROOT
def test_a_model_without_read_permission_is_not_reported_as_missing(closed):
    def as_other_user():
        os.setuid(65534)
        with refused(closed / "a.safetensors", "Permission denied"):
            read_state_dict(closed / "a.safetensors")
        return 7

    assert in_child(as_other_user) == 7


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / f"{LATIN}.safetensors"
    path.write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    with refused(path, "UTF-8"):
        read_state_dict(path)


def test_control_characters_in_names_are_escaped():
    assert harmless("\x1b[2Janna\r\x9b1m\a\n\tb \u00e9") == "\\x1b[2Janna\\r\\x9b1m\\x07\n\tb \u00e9"


@pytest.mark.parametrize("name", ["=1+1.png", "+1.png", "-1.png", "@sum.png", "\tx.png", "\rx.png"])
def test_no_cell_of_a_csv_is_a_formula(tmp_path, name):
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerow([_cell(name), _cell(-0.5), _cell("a=b")])
    with (tmp_path / "a.csv").open(newline="") as file:
        assert next(csv.reader(file)) == [f"'{name}", "-0.5", "a=b"]


def test_suggested_commands_are_quoted():
    @dataclass
    class Options:
        out: Path = option(Path(), help="")
        token: str = option("", help="")

    name = "a b; $(rm x)'"
    assert shlex.split(spelled(Options(Path(name), "sks"))) == ["--out", name, "--token", "sks"]
