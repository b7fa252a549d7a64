"""A cast of synthetic people on a tiny model, small enough to train in seconds."""

import pytest
from safetensors.torch import load_file, save_file

from tests.tiny import tiny_checkpoint
from training.__main__ import main
from training.models.stable_diffusion.families import SD1
from training.world.render.photos import photos

PEOPLE = {"anna": 3, "bert": 5, "cleo": 33}


@pytest.fixture(scope="session")
def studio(tmp_path_factory):
    """Returns a folder with photos of three people and a base model."""
    folder = tmp_path_factory.mktemp("studio")
    save_file(tiny_checkpoint(SD1), folder / "tiny.safetensors")
    for name, person in PEOPLE.items():
        (folder / name).mkdir()
        for number, photo in enumerate(photos(person, 28, 3)):
            photo.save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def options(studio):
    """Returns options for all rows, with embedders that need no face detector."""
    return [
        *("--checkpoint", f"{studio}/tiny.safetensors", "--embedder", "drawn-loss", "--matcher", "drawn-score"),
        *("--loss", "none", "--resolution", "64", "--num-inference-steps", "2", "--checkpointing-steps", "1"),
    ]


@pytest.fixture
def cast(studio, tmp_path, options):
    """Returns a function that runs the command on a table of rows (cells by column) and returns its exit code."""

    def run(rows, *more, out=tmp_path / "out"):
        columns = list(dict.fromkeys(["name", "subject", *(column for cells in rows.values() for column in cells)]))
        cells = [{"name": name, "subject": f"{studio}/{name}"} | row for name, row in rows.items()]
        lines = [columns, *([str(row.get(column, "")) for column in columns] for row in cells)]
        table = tmp_path / "table.csv"
        table.write_text("".join(",".join(line) + "\n" for line in lines))
        return main(["cast", str(table), "--out", str(out), *options, "--cpus", "1", *more])

    return run


@pytest.fixture
def alone(monkeypatch):
    """Pretends that Ray is not installed."""
    monkeypatch.setattr("training.cli.cast.installed", lambda: False)


def subject(out, name):
    """Returns the trained weights of a subject."""
    return load_file(out / name / f"{name}.safetensors")
