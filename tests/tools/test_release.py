"""The steps to a release in CONTRIBUTING.md, and what they set."""

import re
import shlex
import shutil
import subprocess

import pytest

from tools.graphs import REPOSITORY

PROJECT = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
STEPS = (
    (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Steps to a release\n")[1].split("\n## ")[0]
)
(COMMAND,) = re.findall(r"^ +(perl .+)$", STEPS, re.MULTILINE)
CI = (REPOSITORY / ".github/workflows/ci.yml").read_text(encoding="utf-8")
# These name the placeholder; they do not hold an owner's name.
ABOUT_THE_PLACEHOLDER = {"CONTRIBUTING.md", ".github/workflows/publish.yml", "tests/tools/test_release.py"}


def test_the_placeholder_of_the_owner_is_in_pyproject_only():
    search = ["git", "grep", "-lIw", "OWNER"]
    if not (REPOSITORY / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    files = subprocess.run(search, cwd=REPOSITORY, capture_output=True, text=True).stdout.split()
    assert set(files) - ABOUT_THE_PLACEHOLDER <= {"pyproject.toml"}


def test_the_steps_to_a_release_name_the_placeholder_the_file_and_the_publisher():
    assert "OWNER" in COMMAND and COMMAND.endswith("pyproject.toml")
    assert "PublisherId" in STEPS and "COMFY_PUBLISH" in STEPS and "REGISTRY_ACCESS_TOKEN" in STEPS


@pytest.mark.skipif(not shutil.which("perl"), reason="perl is not installed")
def test_one_command_sets_the_publisher_and_all_addresses(tmp_path):
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    subprocess.run(shlex.split(COMMAND.replace("your-github-name", "alice")), cwd=tmp_path, check=True)
    after = (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    assert "OWNER" not in after and len(after.splitlines()) == len(PROJECT.splitlines())
    if "OWNER" in PROJECT:  # else the owner has run the command already
        assert re.findall(r'^PublisherId = "(.*)"$', after, re.MULTILINE) == ["alice"]
        addresses = re.findall(r'"https://(?:raw\.githubusercontent|github)\.com/([^/]+)/', after)
        assert len(addresses) == 5 and set(addresses) == {"alice"}


def test_ci_runs_the_tests_inside_the_oldest_comfyui_and_fails_without_one():
    oldest = re.search(r'^requires-comfyui = ">=(.+)"$', PROJECT, re.MULTILINE)[1]
    tags = re.search(r"^ +comfyui: \[(.+)\]", CI, re.MULTILINE)[1].split(", ")
    assert len(tags) >= 2 and f"v{oldest}" in tags
    assert re.search(r"^ +COMFYUI_REQUIRED: 1\b", CI, re.MULTILINE)
