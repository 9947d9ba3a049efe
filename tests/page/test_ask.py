"""Protects Ask: a question about a picture, what the language model is told of it, and its answer as it is written.

The language model is a stand-in (tests/e2e/llm.py).
"""

import shutil
import subprocess
import threading

import llm
import pytest
from conftest import ROOT, Server, b64, example, expect, picture, stop_cleanly, wait_until

WORDS = ["A ", "cat", "."]
GIVEN_UP = 'limoe_upstream_requests_total{outcome="given_up"}'


class Held:
    """An answer of the language model that is held back behind its first word."""

    def __init__(self, *last):
        self.go_on, self.last = threading.Event(), last or llm.events("vllm", "smol", WORDS, usage=True)[2:]

    def __call__(self, connection):
        connection.sendall(llm.stream_head() + b"".join(map(llm.chunk, llm.events("vllm", "smol", WORDS)[:2])))
        assert self.go_on.wait(60)
        connection.sendall(b"".join(map(llm.chunk, self.last)) + llm.chunk(b""))


@pytest.fixture(scope="module")
def pair():
    model = llm.Llm()
    running = Server(*model.options())
    with running.client() as client:
        assert client.put("/v1/classifiers/bank", json={"labels": ["a picture of a cat", "two dogs"]}).status_code == 200
        # The first description embeds the program's words, which on a busy machine takes longer than a browser is waited for.
        assert client.post("/v1/describe", json={"image": b64(picture(0))}, timeout=120).status_code == 200
    yield running, model
    stop_cleanly(running)
    model.close()


@pytest.fixture
def asked(pair, visit):
    """The tab of a server that has a language model, which answers as usual, and the language model."""
    running, model = pair
    model.answers = []
    model.requests.clear()

    def open_(**context):
        return visit("ask", at=running, **context), model

    return open_


def choose_cat(seen):
    seen.panel("ask").get_by_role("button", name="cat").click()
    expect(seen.panel("ask").locator(".answer img")).to_be_visible()


def submit(seen):
    seen.panel("ask").locator("button[type=submit]").click()


def prompt_of(model):
    return model.requests[-1][1]["messages"][0]["content"]


def press_tab_until(page, name):
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.getAttribute('aria-label') || document.activeElement.textContent") == name:
            return
    raise AssertionError(f"{name} is not reached")


def test_by_keyboard_the_answer_is_shown_as_it_is_written(asked):
    seen, model = asked()
    held = Held()
    model.answers = [held]
    page, panel = seen.page, seen.panel("ask")
    page.get_by_role("tab", name="Ask").focus()
    press_tab_until(page, "Example: cat")
    page.keyboard.press("Enter")
    expect(panel.locator(".answer img")).to_be_visible()
    panel.get_by_label("Question").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("What animal is it?")
    page.keyboard.press("Enter")
    expect(panel.locator(".written")).to_have_text("A ")
    expect(panel.locator("[aria-busy=true]")).to_be_visible()
    expect(panel.locator(".terms li").first).to_contain_text("cat")
    told = panel.get_by_role("region", name="Prompt").inner_text()
    seen.check_axe()
    seen.screenshot("ask-writing")
    held.go_on.set()
    expect(panel.locator(".written")).to_have_text("A cat.")
    expect(panel.locator("[aria-busy=false]")).to_contain_text("31 tokens read, 2 written · smol")
    expect(panel.get_by_role("button", name="Stop")).to_be_disabled()
    assert panel.get_by_role("region", name="Prompt").inner_text() == told == prompt_of(model).rstrip()
    assert "What animal is it?" in told
    seen.check_axe()
    seen.check_words()


def test_choices_and_captions_of_a_bank(asked):
    seen, model = asked()
    panel = seen.panel("ask")
    model.content = "It is a DOG."
    choose_cat(seen)
    panel.get_by_label("Choices").fill("cat\n\n dog ")
    panel.get_by_label("Captions from").select_option("bank")
    submit(seen)
    expect(panel.locator(".chosen")).to_have_text("Chosen: dog")
    expect(panel.locator(".captions li")).to_have_count(2)
    assert "Answer with one of: cat, dog." in prompt_of(model) and "a picture of a cat" in prompt_of(model)
    expect(panel.get_by_role("region", name="Prompt")).to_have_text(prompt_of(model))
    model.content = "A bird."
    submit(seen)
    expect(panel.locator(".chosen")).to_have_text("It names none of the choices.")
    seen.check_axe()
    seen.screenshot("ask-choices")


def test_stopped(asked):
    seen, model = asked()
    held = Held()
    model.answers = [held]
    before = seen.server.metric(GIVEN_UP)
    panel = seen.panel("ask")
    choose_cat(seen)
    submit(seen)
    expect(panel.locator(".written")).to_have_text("A ")
    panel.get_by_role("button", name="Stop").focus()
    seen.page.keyboard.press("Enter")
    expect(panel.locator("[aria-busy=false]")).to_contain_text("Stopped after")
    expect(panel.locator(".written")).to_have_text("A ")
    expect(panel.get_by_role("button", name="Ask", exact=True)).to_be_focused()
    wait_until(lambda: seen.server.metric(GIVEN_UP) == before + 1)
    held.go_on.set()
    model.answers = []
    seen.page.keyboard.press("Enter")
    expect(panel.locator(".written")).to_have_text(model.content)


def test_what_goes_wrong_is_told_in_the_servers_words(asked):
    seen, model = asked()
    panel = seen.panel("ask")
    submit(seen)
    expect(panel.get_by_role("alert").filter(has_text="There is no picture yet.")).to_be_visible()
    choose_cat(seen)
    model.answers = [llm.whole({"error": {"message": "no memory left"}}, status=500)]
    submit(seen)
    expect(panel.locator(".answer").get_by_role("alert")).to_contain_text("no memory left")
    seen.expect_said("502")
    held = Held(b'data: {"error": {"message": "the card is gone"}}\n\n')
    model.answers = [held]
    submit(seen)
    expect(panel.locator(".written")).to_have_text("A ")  # an error right behind it would be an answer of its own
    held.go_on.set()
    expect(panel.locator(".answer").get_by_role("alert")).to_contain_text("the card is gone")
    expect(panel.locator(".written")).to_have_text("A ")
    seen.check_axe()
    panel.get_by_label("Question").fill(" ")
    submit(seen)
    expect(panel.get_by_role("alert").filter(has_text="Write a question.")).to_be_visible()


def test_without_a_language_model_it_is_told_how_to_have_one(visit, pair, start, tmp_path):
    """By a state directory in which the words are embedded already."""
    shutil.copytree(pair[0].state.name, tmp_path / "state")
    seen = visit("ask", at=start(env={"LIMOE_STATE_DIR": str(tmp_path / "state")}))
    panel = seen.panel("ask")
    choose_cat(seen)
    submit(seen)
    expect(panel.locator(".answer").get_by_role("alert")).to_contain_text("the server has no language model to ask")
    expect(panel.locator(".answer code")).to_contain_text("limoe serve --llm-url")
    expect(panel.get_by_role("region", name="Prompt")).to_contain_text("Tags: cat")
    seen.check_axe()
    seen.screenshot("ask-without")
    seen.expect_said("501")


@pytest.mark.parametrize("setting", [{"locale": "ja-JP", "color_scheme": "dark"}, {"viewport": {"width": 360, "height": 740}, "is_mobile": True}], ids=["japanese", "phone"])
def test_in_japanese_and_on_a_phone(asked, setting, request):
    seen, model = asked(**setting)
    model.content = "猫です。" if "locale" in setting else "A cat, and nothing else. " * 4
    choose_cat(seen)
    submit(seen)
    expect(seen.panel("ask").locator(".written")).to_have_text(model.content.strip())
    expect(seen.panel("ask").locator(".terms").first).to_be_visible()
    seen.check_axe()
    seen.check_words()
    seen.screenshot(f"ask-{request.node.callspec.id}")
    assert seen.page.evaluate("() => document.documentElement.scrollWidth") <= seen.page.viewport_size["width"]


def test_the_code_runs_and_says_what_the_page_says(asked, tmp_path):
    seen, model = asked()
    panel = seen.panel("ask")
    model.content = "Cat's 猫."
    name = "a cat's \"picture\".png"
    (tmp_path / name).write_bytes((ROOT / "examples/cat.png").read_bytes())
    seen.choose(panel.get_by_role("button", name="Choose a file"), tmp_path / name)
    panel.get_by_label("Question").fill("What's \"it\" & $HOME?")
    panel.get_by_label("Choices").fill("cat\n猫")
    submit(seen)
    expect(panel.locator(".written")).to_have_text(model.content)
    prompt = prompt_of(model)
    panel.locator("summary").click()
    command = panel.get_by_role("region", name="curl").inner_text()
    seen.check_axe()
    panel.get_by_role("tab", name="Python").click()
    program = panel.get_by_role("region", name="Python").inner_text()
    told = subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60).stdout
    assert '"object":"answer.delta"' in told and told.endswith("data: [DONE]\n\n") and prompt_of(model) == prompt
    printed = subprocess.run(["python3", "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60).stdout
    assert printed == f"{model.content}\n" and prompt_of(model) == prompt and len(model.requests) == 3
