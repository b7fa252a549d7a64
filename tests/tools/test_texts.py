"""Every node has a help page and translations that match its schema, and texts avoid a few words."""

import re

import pytest
from PIL import Image

from tools.graphs import OBJECT_INFO, REPOSITORY, read
from tools.locales import LANGUAGES, english, file

DOCS = REPOSITORY / "web" / "docs"
ENGLISH = english(read(OBJECT_INFO))
NODES = sorted(
    match
    for path in (REPOSITORY / "nodes").glob("*.py")
    for match in re.findall(r'node_id="(IDAging\w+)"', path.read_text(encoding="utf-8"))
)
# Words that make a sentence stilted; for code and models there is a usual one.
BANNED = re.compile(r"\b(nobody|somebody|anybody|whoever|whom|in turn|is none of)\b", re.IGNORECASE)
PAGES = ("architecture", "command-line", "costs", "licences", "nodes", "photos", "settings", "similarity", "trouble")
PLAIN = [  # files without these words; add to this list, never remove
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", "__init__.py", "training/__init__.py"),
    *(f"docs/{page}.md" for page in PAGES),
    *("docs/queue_workflow.py", ".ci/run", ".ci/style", ".comfyignore", ".github/workflows/ci.yml"),
    *("tests/comfyui/conftest.py", "tests/tools/test_queue_workflow.py", "tests/tools/test_release.py"),
]


def shape(texts):
    return {key: shape(value) for key, value in texts.items()} if isinstance(texts, dict) else None


def words(texts):
    return [word for value in texts.values() for word in (words(value) if isinstance(value, dict) else [value])]


def test_object_info_lists_every_node():
    assert sorted(ENGLISH) == NODES, "run python -m tools.graphs COMFYUI"


def test_the_english_texts_match_the_nodes():
    assert read(file("en")) == ENGLISH, "run python -m tools.locales"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_missing(language):
    texts = read(file(language))
    assert shape(texts) == shape(ENGLISH)
    for text in words(texts):
        assert text.strip() and not re.search(r"[{}@|]", text), f"the front end interprets {{}}@| in: {text}"


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_every_text_is_translated(language):
    categories = read(file(language).with_name("main.json"))["nodeCategories"]
    assert {node["category"] for name, node in read(OBJECT_INFO).items() if name in NODES} == categories.keys()
    for text in [*words(read(file(language))), *categories.values()]:
        assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", text)


def first_column(page, heading):
    """The names in the first column of the table under ``heading``; a row may list several, separated by commas."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\|([^|]+)\|", section[1], re.MULTILINE)[2:] if section else []
    return {name.strip() for row in rows for name in row.split(",")}


@pytest.mark.parametrize("node", NODES)
def test_help_page(node):
    page = (DOCS / f"{node}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {ENGLISH[node]['display_name']}\n")
    images = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert images
    for name in images:
        with Image.open(DOCS / name) as image:
            assert image.width >= 200
    inputs = {(name, texts["name"]) for name, texts in ENGLISH[node]["inputs"].items()}
    documented = first_column(page, "Inputs")
    assert documented <= {name for names in inputs for name in names}
    assert [names for names in inputs if not documented & set(names)] == []
    assert first_column(page, "Outputs") == {texts["name"] for texts in ENGLISH[node]["outputs"].values()}


@pytest.mark.parametrize("node", ["IDAgingTrainSubject", "IDAgingSaveSubject"])
def test_the_consent_notice_of_the_readme_is_on_the_help_page(node):
    page = (DOCS / f"{node}.md").read_text(encoding="utf-8")
    notice = (
        (REPOSITORY / "README.md").read_text(encoding="utf-8").split("## Consent and likeness\n")[1].split("\n## ")[0]
    )
    assert notice.strip() in page


def test_no_help_page_is_left_of_a_removed_node():
    assert {path.stem for path in DOCS.glob("*.md")} == set(NODES)


@pytest.mark.parametrize("name", PLAIN)
def test_plain_words(name):
    lines = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    banned = [f"{name}:{number}: {line}" for number, line in enumerate(lines, 1) if BANNED.search(line)]
    assert not banned
