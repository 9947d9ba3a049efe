"""The page in Debian's chromium. Every test sees to it that the browser had nothing to say: no message, no failed request, no
request to another host. Conditions are waited for by locators: the page's policy lets nobody evaluate strings in it.
"""

import json
import os
import pathlib
import re
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "e2e")]

from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from harness import *  # noqa: E402, F403
from harness import ROOT, key_file  # noqa: E402
from playwright.sync_api import expect, sync_playwright  # noqa: E402

CHROMIUM = os.environ.get("LIMOE_CHROMIUM", "/usr/bin/chromium")
TABS = ["Try", "Ask", "Teach", "Search", "Inside", "Monitor", "Load test"]
USER = "user-key-0123456789"
ADMIN = "admin-key-0123456789"
# The stems of the words' keys, as in "loadtest.state.running".
KEY = re.compile(rf"\b({'|'.join({key.split('.')[0] for key in json.loads((ROOT / 'server/page/site/en.json').read_text())})})\.[a-z]")
SHOWN = """() => [...document.querySelectorAll('body *')].flatMap((element) => [...element.attributes].map(({ value }) => value)
  .filter((value, i) => ['aria-label', 'placeholder', 'title', 'alt'].includes(element.attributes[i].name))
  .concat([...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data)))"""
expect.set_options(timeout=20000)


class Visit:
    """A page of a server in a window of its own, and what the browser said of it."""

    def __init__(self, browser, server, tab="", **context):
        self.server = server
        self.said, self.context = [], browser.new_context(locale=context.pop("locale", "en-GB"), **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20000)
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("request", self.note)
        self.page.goto(f"{server.url}/{tab and '#'}{tab}")
        expect(self.page.locator("html[data-ready]")).to_be_attached()

    def note(self, request):
        if not request.url.startswith((self.server.url, "blob:")):
            self.said.append(f"another host: {request.url}")

    def expect_said(self, pattern):
        """The browser itself notes an answer that is an error: taken out where it is meant."""
        kept = [line for line in self.said if not re.search(pattern, line)]
        assert kept != self.said
        self.said = kept

    def panel(self, name):
        return self.page.locator(f".view.{name}")

    def choose(self, button, *files):
        with self.page.expect_file_chooser() as chooser:
            button.click()
        chooser.value.set_files(files)

    def check_axe(self):
        """Only what is seen is looked at: other tabs have their own turn."""
        found = Axe().run(self.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}).response["violations"]
        assert not found, "\n".join(f"{one['id']}: {[node['html'] for node in one['nodes']]}" for one in found)

    def check_words(self):
        """No key stands where its words should."""
        shown = self.page.evaluate(SHOWN)
        assert not [text for text in shown if KEY.search(text)], shown

    def screenshot(self, name):
        folder = os.environ.get("LIMOE_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=pathlib.Path(folder) / f"{name}.png", full_page=True)

    def close(self):
        self.context.close()
        assert not self.said, "\n".join(self.said)


@pytest.fixture(scope="session")
def browser():
    arguments = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, server):
    """Opens the page; what the browser said is looked at when the test is over."""
    opened = []

    def open_(tab="", at=None, **context):
        opened.append(Visit(browser, at or server, tab, **context))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


@pytest.fixture
def key_files(tmp_path):
    return key_file(tmp_path / "users", USER), key_file(tmp_path / "admins", ADMIN)


@pytest.fixture
def locked(start, key_files):
    users, admins = key_files
    return start("--api-keys-file", users, "--admin-keys-file", admins)


def example(name):
    return str(ROOT / "examples" / name)
