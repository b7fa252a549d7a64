"""Help pages and translations: every node has them, and they say what the node says."""

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


def shape(texts):
    return {key: shape(value) for key, value in texts.items()} if isinstance(texts, dict) else None


def words(texts):
    return [word for value in texts.values() for word in (words(value) if isinstance(value, dict) else [value])]


def test_the_stored_answer_knows_every_node():
    assert sorted(ENGLISH) == NODES, "run python -m tools.graphs COMFYUI"


def test_english_is_what_the_nodes_say():
    assert read(file("en")) == ENGLISH, "run python -m tools.locales"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_missing(language):
    texts = read(file(language))
    assert shape(texts) == shape(ENGLISH)
    for text in words(texts):
        assert text.strip() and not re.search(r"[{}@|]", text), f"the front end's translator reads signs in: {text}"


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_every_text_is_translated(language):
    categories = read(file(language).with_name("main.json"))["nodeCategories"]
    assert {node["category"] for name, node in read(OBJECT_INFO).items() if name in NODES} == categories.keys()
    for text in [*words(read(file(language))), *categories.values()]:
        assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", text)


@pytest.mark.parametrize("node", NODES)
def test_help_page(node):
    page = (DOCS / f"{node}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {ENGLISH[node]['display_name']}\n")
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert pictures
    for picture in pictures:
        with Image.open(DOCS / picture) as image:
            assert image.width >= 200
    for name, shown in ENGLISH[node]["inputs"].items():
        assert name in page or shown["name"] in page, f"says nothing of {name}"
    for shown in ENGLISH[node]["outputs"].values():
        assert shown["name"] in page, f"says nothing of {shown['name']}"


@pytest.mark.parametrize("node", ["IDAgingTrainSubject", "IDAgingSaveSubject"])
def test_the_notice_on_consent_is_repeated(node):
    page = (DOCS / f"{node}.md").read_text(encoding="utf-8")
    notice = (
        (REPOSITORY / "README.md").read_text(encoding="utf-8").split("## Consent and likeness\n")[1].split("\n## ")[0]
    )
    assert notice.strip() in page


def test_no_page_is_left_of_a_node_that_is_gone():
    assert {path.stem for path in DOCS.glob("*.md")} == set(NODES)
