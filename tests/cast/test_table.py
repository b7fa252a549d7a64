import json
import re

import pytest

from training.cast.table import read_table
from training.cli.cast import COLUMNS
from training.errors import UserError

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
def test_the_same_table_in_three_forms_and_paths_from_its_folder(tmp_path, name, text):
    if name.endswith("toml"):
        pytest.importorskip("tomllib")
    (tmp_path / name).write_text(text, encoding="utf-8")
    rows = read_table(tmp_path / name, COLUMNS)
    expected = {**ROWS["anna"], "lora_layers": ("attention", "convolution")}
    assert rows == {"anna": expected, "bert": {"subject": tmp_path / "photos/bert", "seed": 3}}


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("t.csv", "name,stepz\nanna,3\n", r"t\.csv, anna: there is no option stepz. Columns are: .*max_train_steps"),
        ("t.csv", "name,seed\nanna,x\n", r"anna: seed is 'x'; it must be a whole number"),
        ("t.csv", "name,random_flip\nanna,maybe\n", r"anna: random_flip is 'maybe'; it must be on or off"),
        ("t.csv", "name,seed\nanna,1\nanna,2\n", r"anna: there are two rows of that name"),
        ("t.csv", "name,seed\nanna,1\nAnna,2\n", r"Anna: there are two rows of that name, in whatever case"),
        ("t.csv", "name,seed\n../anna,1\n", r"'\.\./anna'"),
        ("t.csv", "who,seed\nanna,1\n", r"line 2: there is no name. The column is called 'name'"),
        ("t.csv", "name,seed\nanna,1,2\n", r"line 2: there are more cells than columns"),
        ("t.csv", "name,seed\n", r"has no rows"),
        ("t.csv", "name,out\nanna,x\n", r"no option out"),
        ("t.json", "[]", r"must hold a table of options for each subject"),
        ("t.json", "{", r"t\.json cannot be read: Expecting"),
        ("t.csv", "name,seed\nJ\xfcrgen,1\n", r"t\.csv cannot be read: 'utf-8' codec.*Save it as UTF-8"),
        ("t.json", '{"J\xfcrgen": {}}', r"t\.json cannot be read: 'utf-8' codec"),
        ("t.txt", "", r"must end in one of \.csv, \.toml, \.json"),
        ("missing/t.csv", None, r"There is no table .*missing"),
    ],
)
def test_a_table_that_is_none_gives_its_sentence(tmp_path, name, text, sentence):
    if text is not None:
        (tmp_path / name).write_text(text, encoding="latin-1")  # as some spreadsheets do
    with pytest.raises(UserError) as refused:
        read_table(tmp_path / name, COLUMNS)
    assert re.search(sentence, str(refused.value))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "name,regularization,seed,lora_layers\nanna, ,,attention\n"),
        ("t.json", '\ufeff{"anna": {"regularization": "", "seed": null, "lora_layers": "attention"}}'),
    ],
)
def test_a_cell_with_nothing_in_it_gives_nothing(tmp_path, name, text):
    """A folder called " " or "" would be the table's own."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_table(tmp_path / name, COLUMNS) == {"anna": {"lora_layers": ("attention",)}}
