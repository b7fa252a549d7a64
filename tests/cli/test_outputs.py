"""No command replaces a file that this program did not write, or writes into what it reads."""

import json
import sys

import pytest
from PIL import Image
from safetensors.torch import save_file

from lab.__main__ import main as lab
from tests.hostile.results import assert_told
from tests.parts import picture
from tests.tiny import tiny_checkpoint
from training.__main__ import main
from training.files import ours
from training.models.stable_diffusion.families import SD1
from training.world.render.photos import photos

TRAIN = "train --checkpoint none --subject none --out anna"
GENERATE = "generate --subject none --ages child,30 --out sheets/anna"
SCORE = "score --reference none --images none --report {}"
CAST = "cast table.csv --checkpoint none --out out"
FOREIGN = [  # a command, and a file of the user's that it would replace or mix with its own
    (TRAIN, "anna/losses.csv"),
    (TRAIN, "anna/run.json"),
    (TRAIN, "anna/anna.json"),
    (TRAIN, "anna/anna.png"),
    (TRAIN, "anna/curves.png"),
    (TRAIN, "anna/looks.json"),
    (TRAIN, "anna/looks/step_250.png"),
    (TRAIN, "anna/step_250.safetensors"),
    (GENERATE, "sheets/anna/child.png"),
    (GENERATE, "sheets/anna/30-year-old.png"),
    (GENERATE, "sheets/anna.png"),
    (SCORE.format("r.json"), "r.json"),
    (SCORE.format("r.csv"), "r.csv"),
    (SCORE.format("r.html"), "r.html"),
    (SCORE.format("r.png"), "r-similarities.png"),
    (SCORE.format("r.png"), "r-det.png"),
    (SCORE.format("r.png"), "r-by-age.png"),
    (SCORE.format("r.png"), "r-ages.png"),
    ("world --export base.safetensors", "base.safetensors"),
    ("world --photos anna", "anna/photos/01.png"),
    ("world --photos anna", "anna/photos/2019/holiday.jpg"),
    ("world --photos anna", "anna/ages/child_0001.png"),
    ("demo --out here", "here/sheet.png"),
    ("demo --out here", "here/photos/me.jpg"),
    ("demo --out here", "here/subject.safetensors"),
    ("demo --out here", "here/training-state.pt"),
    (CAST, "out/cast.csv"),
    (CAST, "out/index.html"),
    ("probe --subject none --target none --checkpoint none --out me.png", "me.png"),
]


def run(command):
    return (lab if command.startswith("probe") else main)(command.split())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("command", "name"), FOREIGN)
def test_a_file_of_the_users_is_not_replaced(here, command, name, capsys):
    file = here / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix in (".png", ".jpg"):
        picture(1).save(file)
    elif file.suffix == ".safetensors":
        save_file({"a": picture_tensor()}, file)
    else:
        file.write_text('name,age\nanna,"Identity Aging"\n')
    (here / "table.csv").write_text("name,subject\nanna,none\n")
    before = contents(here)
    assert run(command) == 2
    assert_told(capsys.readouterr().err, name)
    assert contents(here) == before


def picture_tensor():
    import torch

    return torch.zeros(2)


def test_the_table_is_not_replaced_by_the_table_of_the_cast(here, capsys):
    """The documentation names both cast.csv."""
    (here / "cast.csv").write_text("name,subject\nanna,photos\n")
    before = contents(here)
    assert main(["cast", "cast.csv", "--checkpoint", "none", "--out", "."]) == 2
    assert_told(capsys.readouterr().err, "cast.csv")
    assert contents(here) == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs links")
def test_a_link_of_the_users_is_not_replaced(here, capsys):
    (here / "r.json").symlink_to(here / "disk that is away")
    assert run(SCORE.format("r.json")) == 2
    assert_told(capsys.readouterr().err, "r.json")
    assert (here / "r.json").is_symlink()


INSIDE = [  # a command whose output is or lies inside its input
    ("train --checkpoint none --subject photos --out photos", "--subject"),
    ("train --checkpoint none --subject photos --out photos/subjects/anna", "--subject"),
    ("train --checkpoint none --subject none --regularization photos --out photos", "--regularization"),
    ("train --checkpoint none --subject photos --out link/anna", "--subject"),
    ("train --checkpoint photos --subject none --out photos/anna", "--checkpoint"),
    ("generate --subject photos --out photos", "--subject"),
    ("generate --subject photos --out photos/ages", "--subject"),
    ("score --reference photos --images none --report photos/r.png", "--reference"),
    ("score --reference none --images photos --report photos/r.html", "--images"),
    ("cast table.csv --checkpoint none --subject photos --out photos/cast", "--subject"),
    ("cast table.csv --checkpoint none --impostors photos --out photos", "--impostors"),
    ("probe --subject photos --target none --checkpoint none --out photos/probe.png", "--subject"),
]


@pytest.mark.parametrize(("command", "option"), INSIDE)
def test_an_output_inside_an_input_is_refused(here, command, option, capsys):
    (here / "photos").mkdir()
    picture(1).save(here / "photos" / "a.jpg")
    (here / "link").symlink_to(here / "photos", target_is_directory=True)
    (here / "table.csv").write_text("name,subject\nanna,none\n")
    before = contents(here)
    assert run(command) == 2
    assert_told(capsys.readouterr().err, option, "photos")
    assert contents(here) == before


@pytest.mark.parametrize("name", ["run", "Looks", "curves", "step_250"])
def test_a_subject_cannot_have_the_name_of_another_file_of_its_run(here, name, capsys):
    assert main(f"train --checkpoint none --subject none --out subjects/{name}".split()) == 2
    assert_told(capsys.readouterr().err, name)
    assert contents(here) == {}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with what every command writes, made twice by the same commands; the demo's has a test of its own."""
    folder = tmp_path_factory.mktemp("made")
    save_file(tiny_checkpoint(SD1), folder / "tiny.safetensors")
    (folder / "photos").mkdir()
    for number, photo in enumerate(photos(3, 28, 3)):
        photo.save(folder / "photos" / f"{number}.png")
    train = f"train --checkpoint {folder}/tiny.safetensors --subject {folder}/photos --out {folder}/out/anna"
    train += " --resolution 64 --max-train-steps 2 --checkpointing-steps 1 --loss none --embedder drawn-loss"
    generate = f"generate --subject {folder}/out/anna --out {folder}/out/ages --num-inference-steps 1"
    reports = " ".join(f"--report {folder}/out/r.{suffix}" for suffix in ("json", "csv", "html", "png"))
    score = f"score --reference {folder}/photos --images {folder}/out/ages --embedder drawn-score {reports}"
    world = f"world --photos {folder}/out/world --export {folder}/out/world.safetensors"
    outcomes = [main(command.split()) for command in (f"{train} --judge drawn-score", generate, score, world)]
    before = [path.relative_to(folder / "out") for path in contents(folder / "out")]
    for name in ("anna.safetensors", "training-state.pt"):  # as after a kill at the end of the run
        (folder / "out" / "anna" / name).unlink(missing_ok=True)
    outcomes += [main(command.split()) for command in (f"{train} --judge drawn-score", generate, score, world)]
    return folder / "out", before, outcomes


def test_every_command_replaces_its_own_files(made):
    out, before, outcomes = made
    assert outcomes == [0] * 8
    assert {path.relative_to(out) for path in contents(out)} == set(before)


def test_every_file_that_a_command_writes_is_known_as_ours(made):
    out, before, _ = made
    names = {str(path) for path in before}
    expected = {"anna/run.json", "anna/losses.csv", "anna/anna.json", "anna/looks.json", "r.csv", "r.html", "r.json"}
    expected |= {"anna/anna.safetensors", "anna/anna.png", "anna/looks/step_2.png", "ages.png", "ages/child.png"}
    assert expected | {"r-similarities.png", "world.safetensors", "world/photos/01.png"} <= names
    assert [str(path) for path in before if not ours(out / path)] == []


def test_files_of_other_programs_are_not_ours(tmp_path):
    picture(1).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", comment=b"Identity Aging")
    save_file({"identity_aging": picture_tensor()}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    (tmp_path / "a.json").write_text(json.dumps({"summary": "Identity Aging"}, indent=2))
    (tmp_path / "a.csv").write_text("name,state\nanna,Bavaria\n")
    (tmp_path / "a.html").write_text("<title>Identity Aging</title>")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    assert not [path.name for path in tmp_path.iterdir() if ours(path)]
