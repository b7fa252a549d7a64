"""Opens ComfyUI's front end in a headless Chromium."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

from tools.server import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT = 120_000  # ms
READY = """() => !!(window.app?.graph?._nodes.length && window.app.extensionManager && window.LiteGraph
    && LiteGraph.registered_node_types.IDAgingTrainSubject && LiteGraph.registered_node_types.MarkdownNote)"""


@contextmanager
def front_end(server: Server) -> Iterator[Page]:
    """Yields the page once it is loaded; its list ``errors`` collects the console's errors."""
    server.post("/settings", **{"Comfy.TutorialCompleted": True})  # otherwise the templates open at some point
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.errors = []
        page.on("console", lambda message: message.type == "error" and page.errors.append(message.text))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.port}/", timeout=WAIT)
        page.wait_for_function(READY, timeout=WAIT)
        yield page
        browser.close()
