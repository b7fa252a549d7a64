import json
import time

import pytest

from training.cast.table import read_table
from training.cli.cast_job import COLUMNS
from training.errors import DamagedFile, InvalidData, InvalidSetting, MissingFile, UserError

ROWS = {
    "anna": {
        "max_train_steps": 5,
        "learning_rate": 1e-4,
        "random_flip": False,
        "lora_layers": ["attention", "convolution"],
    },
    "bert": {"subject": "photos/bert", "seed": 3},
}
CSV = """\ufeffname,subject,max-train-steps,learning_rate,random_flip,lora_layers,seed
anna,,5,1e-4,off,attention convolution,
bert,photos/bert,,,,,3
"""
TOML = """
[anna]
max-train-steps = 5
learning_rate = 1e-4
random_flip = false
lora_layers = ["attention", "convolution"]
[bert]
subject = "photos/bert"
seed = 3
"""


@pytest.mark.parametrize(("name", "text"), [("t.csv", CSV), ("t.toml", TOML), ("t.json", json.dumps(ROWS))])
def test_three_formats_of_a_table_are_equal_and_paths_start_at_its_folder(tmp_path, name, text):
    if name.endswith("toml"):
        pytest.importorskip("tomllib")
    (tmp_path / name).write_text(text, encoding="utf-8")
    rows = read_table(tmp_path / name, COLUMNS)
    expected = {**ROWS["anna"], "lora_layers": ("attention", "convolution")}
    assert rows == {"anna": expected, "bert": {"subject": tmp_path / "photos/bert", "seed": 3}}


@pytest.mark.parametrize(
    ("name", "text", "error", "values"),
    [
        ("t.csv", "name,stepz\nanna,3\n", InvalidData, ["t.csv", "anna", "stepz", "max_train_steps"]),
        ("t.csv", "name,seed\nanna,x\n", InvalidData, ["anna", "seed", "'x'", "whole number"]),
        ("t.csv", "name,random_flip\nanna,maybe\n", InvalidData, ["anna", "random_flip", "'maybe'", "on or off"]),
        ("t.csv", "name,seed\nanna,1\nanna,2\n", InvalidData, ["t.csv, anna"]),
        ("t.csv", "name,seed\nanna,1\nAnna,2\n", InvalidData, ["t.csv, Anna"]),
        ("t.csv", "name,seed\n../anna,1\n", UserError, ["'../anna'"]),
        ("t.csv", "who,seed\nanna,1\n", InvalidData, ["line 2", "'name'"]),
        ("t.csv", "name,seed\nanna,1,2\n", InvalidData, ["line 2"]),
        ("t.csv", "name,seed\n", InvalidData, ["t.csv"]),
        ("t.csv", "name,out\nanna,x\n", InvalidData, ["anna", "out"]),
        ("t.json", "[]", InvalidData, ["t.json"]),
        ("t.json", "{", DamagedFile, ["t.json", "line 1 column 2"]),
        ("t.csv", "name,seed\nJ\xfcrgen,1\n", DamagedFile, ["t.csv", "UTF-8"]),
        ("t.json", '{"J\xfcrgen": {}}', DamagedFile, ["t.json", "UTF-8"]),
        ("t.csv", "name,seed,seed\nanna,1,2\n", InvalidData, ["t.csv", "line 1", "'seed'"]),
        ("t.csv", "name,max-train-steps,max_train_steps\nanna,1,2\n", InvalidData, ["max_train_steps"]),
        ("t.csv", "name,name\nanna,bert\n", InvalidData, ["t.csv", "'name'"]),
        ("t.csv", "name,seed,\nanna,1,2\n", InvalidData, ["anna", "column 3"]),
        ("t.json", '{"anna": {"seed": 1}, "anna": {"seed": 2}}', InvalidData, ["t.json", "'anna'"]),
        ("t.json", '{"anna": {"seed": 1, "seed": 2}}', InvalidData, ["t.json", "'seed'"]),
        ("t.json", '{"anna": {"max-train-steps": 1, "max_train_steps": 2}}', InvalidData, ["anna", "max_train_steps"]),
        ("t.txt", "", InvalidSetting, ["t.txt", ".csv, .toml, .json"]),
        ("missing/t.csv", None, MissingFile, ["missing/t.csv"]),
    ],
)
def test_an_unusable_table_is_refused(tmp_path, name, text, error, values):
    if text is not None:
        (tmp_path / name).write_text(text, encoding="latin-1")  # as some spreadsheets do
    with pytest.raises(error) as refused:
        read_table(tmp_path / name, COLUMNS)
    assert all(value in str(refused.value) for value in values)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "name,regularization,seed,lora_layers\nanna, ,,attention\n"),
        ("t.json", '\ufeff{"anna": {"regularization": "", "seed": null, "lora_layers": "attention"}}'),
    ],
)
def test_empty_cells_are_left_out(tmp_path, name, text):
    """As a path, " " or "" would name the table's own folder."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_table(tmp_path / name, COLUMNS) == {"anna": {"lora_layers": ("attention",)}}


def test_empty_columns_of_a_spreadsheet_are_ignored(tmp_path):
    (tmp_path / "t.csv").write_text("name,seed,,\nanna,1,,\n")
    assert read_table(tmp_path / "t.csv", COLUMNS) == {"anna": {"seed": 1}}


def test_a_table_with_20000_rows_is_read_in_seconds(tmp_path):
    """Comparing each name with all others took minutes."""
    (tmp_path / "t.csv").write_text("name,seed\n" + "".join(f"person {number},{number}\n" for number in range(20_000)))
    start = time.process_time()
    assert len(read_table(tmp_path / "t.csv", COLUMNS)) == 20_000
    assert time.process_time() - start < 5
