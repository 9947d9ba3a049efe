"""Protects the first tab: pictures in each way, labels, classifiers, the request to copy."""

import json
import subprocess

import pytest
from conftest import ROOT, example, expect


def best(seen, name):
    return seen.panel("try").locator("article", has_text=name).locator(".bars li").first


def test_pictures_chosen_shown_and_answered(visit):
    seen = visit()
    seen.choose(seen.page.get_by_role("button", name="Choose a file"), example("cat.png"), example("rocket.jpg"))
    expect(best(seen, "cat.png")).to_contain_text("cat")
    expect(best(seen, "rocket.jpg")).to_contain_text("rocket")
    seen.page.get_by_label("Labels", exact=True).fill("自転車\nロケット")
    expect(best(seen, "rocket.jpg")).to_contain_text("ロケット")
    seen.page.get_by_role("button", name="Remove the pictures").click()
    expect(seen.page.locator("article")).to_have_count(0)


def test_all_by_keyboard(visit):
    page = visit().page
    page.get_by_role("tab", name="Try").focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Example: lemon":
            break
    page.keyboard.press("Enter")
    expect(page.locator(".bars li").first).to_contain_text("lemon")


PASTE = """([name, bytes, kind]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name));
  const target = kind === 'paste' ? document : document.querySelector('.try .place');
  target.dispatchEvent(kind === 'paste' ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true })
    : new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_pasted_and_dropped(visit, way):
    seen = visit()
    expect(seen.panel("try").locator(".place")).to_be_visible()
    seen.page.evaluate(PASTE, ["dog.png", list((ROOT / "examples/dog.png").read_bytes()), way])
    expect(best(seen, "dog.png")).to_contain_text("dog")


def test_photographed(visit):
    seen = visit(permissions=["camera"])
    seen.page.get_by_role("button", name="Photograph").click()
    expect(seen.page.get_by_role("button", name="Take it")).to_be_focused()
    seen.check_axe()
    seen.page.keyboard.press("Enter")
    expect(best(seen, "photograph.jpg")).to_be_visible()


def test_what_is_no_picture_is_told_in_the_servers_words(visit, tmp_path):
    (tmp_path / "odd.png").write_bytes(b"no picture")
    seen = visit()
    seen.choose(seen.page.get_by_role("button", name="Choose a file"), tmp_path / "odd.png")
    expect(seen.panel("try").locator("article").get_by_role("alert")).to_contain_text("not a picture of a known type")
    seen.expect_said("400")


def test_a_classifier_is_saved_used_and_deleted(visit, server):
    seen = visit()
    page = seen.page
    page.get_by_label("Labels", exact=True).fill("bee\nlemon")
    page.get_by_label("Save these labels as").fill("fruit-or-not")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Saved classifier")).to_have_value("fruit-or-not")
    with server.client() as client:
        assert client.get("/v1/classifiers/fruit-or-not").json()["labels"] == ["bee", "lemon"]
    page.get_by_role("button", name="Example: lemon").click()
    expect(best(seen, "lemon.webp")).to_contain_text("lemon")
    page.locator("summary").click()
    expect(page.get_by_role("region", name="curl")).to_contain_text("classifier=fruit-or-not")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_label("Saved classifier")).to_have_value("")
    with server.client() as client:
        assert client.get("/v1/classifiers/fruit-or-not").status_code == 404


def test_the_code_runs_and_says_what_the_page_says(visit, tmp_path):
    seen = visit()
    page = seen.page
    page.get_by_label("Labels", exact=True).fill("cat's \"cradle\"; type=x\ncat\n猫, 犬")
    seen.choose(page.get_by_role("button", name="Choose a file"), example("cat.png"))
    expect(best(seen, "cat.png")).to_contain_text("cat")
    shown = [line.split("\n")[0] for line in page.locator(".bars li .what").all_inner_texts()]
    page.locator("summary").click()
    command = page.get_by_role("region", name="curl").inner_text()
    seen.check_axe()
    page.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowRight")
    program = page.get_by_role("region", name="Python").inner_text()
    folder = ROOT / "examples"
    answered = json.loads(subprocess.run(["bash", "-c", command.replace("curl ", "curl -sf ", 1)], cwd=folder, check=True, capture_output=True, timeout=60).stdout)
    assert [found["label"] for found in answered["data"][0]["predictions"]] == shown
    printed = subprocess.run(["python3", "-c", program], cwd=folder, check=True, capture_output=True, text=True, timeout=60).stdout
    assert [line[7:] for line in printed.splitlines()] == shown
