"""Protects the tab in which a model is taught: classes by files and folders, a job watched, found again, cancelled, what it has
learnt compared and chosen in Try, and errors in the server's words."""

import pytest
from conftest import b64, draw_classes, expect, wait_until
from PIL import Image, ImageOps

SHAPES = {"block": "rectangle", "disc": "ellipse"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    draw_classes(folder, SHAPES)
    return folder


@pytest.fixture(scope="module")
def untaught(pictures, tmp_path_factory):
    """A picture of each class that is not among those taught."""
    folder = tmp_path_factory.mktemp("untaught")
    for label in SHAPES:
        ImageOps.mirror(Image.open(pictures / label / "1.png")).save(folder / f"{label}.png")
    return [folder / f"{label}.png" for label in SHAPES]


@pytest.fixture
def teach(visit, start):
    """The tab, at a server of its own, whose adapters nobody else sees; questions are answered with yes."""
    seen = visit("teach", at=start())
    seen.asked = []
    seen.page.on("dialog", lambda dialog: (seen.asked.append(dialog.message), dialog.accept()))
    return seen


def group(seen, n):
    return seen.panel("teach").get_by_role("group", name=f"Class {n}")


def fill_class(seen, n, label, *files):
    group(seen, n).get_by_label("Name of the class").fill(label)
    if files:
        seen.choose(group(seen, n).get_by_role("button", name="Choose pictures"), *files)
        expect(group(seen, n)).to_contain_text(f"Pictures: {len(files)}")


def fill_classes(seen, pictures):
    for i, label in enumerate(SHAPES):
        fill_class(seen, i + 1, label, *sorted((pictures / label).iterdir()))


def check_on(seen, *files):
    seen.choose(seen.panel("teach").locator("section", has_text="Check on").get_by_role("button", name="Choose pictures").last, *files)


def teach_it(seen, name=None):
    if name:
        seen.panel("teach").get_by_label("Name of what is learnt").fill(name)
    seen.panel("teach").get_by_role("button", name="Teach it").click()


def answer(seen, picture, heading):
    return seen.panel("teach").locator("article", has_text=picture).locator("section", has_text=heading).locator(".bars li")


def test_taught_watched_and_compared(teach, pictures, untaught):
    seen, panel = teach, teach.panel("teach")
    expect(panel.get_by_label("Name of what is learnt")).to_have_value("taught")
    fill_classes(seen, pictures)
    check_on(seen, *untaught)
    teach_it(seen)
    expect(panel).to_contain_text("Served already, while it goes on: a probe.")
    expect(panel.locator(".tile", has_text="Right before")).to_contain_text("%")
    seen.screenshot("teach-training")
    seen.check_axe()
    expect(panel.get_by_text("taught: ready")).to_be_visible(timeout=120000)  # a trainer is nice
    expect(panel.get_by_text("pictures held out")).to_contain_text("by a tail: ")
    expect(panel.locator("[aria-busy=true]")).to_have_count(0)
    expect(answer(seen, "disc.png", "Before")).to_have_count(2)
    expect(panel.get_by_label("Adapter", exact=True)).to_have_value("taught")
    for card, label in zip(panel.locator("article").all(), SHAPES, strict=True):
        expect(card.locator("section", has_text="After: taught").locator(".bars li").first).to_contain_text(label)
    seen.screenshot("teach-ready")
    seen.check_axe()
    seen.check_words()

    panel.get_by_label("Strength").press("Home")
    first = panel.locator("article").first
    expect(first.locator("section", has_text="Before").locator(".score").first).not_to_be_empty()
    before = first.locator("section", has_text="Before").locator(".bars").inner_text()
    expect(first.locator("section", has_text="After").locator(".bars")).to_have_text(before, use_inner_text=True)

    expect(panel.get_by_label("Name of what is learnt")).to_have_value("taught-2")
    panel.get_by_role("button", name="Delete the adapter").click()
    expect(panel.get_by_label("Adapter", exact=True)).to_be_hidden()
    assert seen.asked == ["Delete the adapter taught from the server?"]
    with seen.server.client() as client:
        assert client.get("/v1/adapters").json()["data"] == []


def test_a_job_is_found_again_and_cancelled_by_keyboard_alone(teach, pictures):
    """From a folder of folders to a job, through a reload, to its end, without a pointer."""
    seen, page, panel = teach, teach.page, teach.panel("teach")
    page.get_by_role("tab", name="Teach").focus()
    tab_to(page, "Choose a folder of classes")
    panel.locator("input[webkitdirectory]").set_input_files(str(pictures))  # what the system's dialog answers
    expect(group(seen, 2)).to_contain_text("Pictures: 4")
    assert sorted(group(seen, n).get_by_label("Name of the class").input_value() for n in (1, 2)) == sorted(SHAPES)
    page.get_by_role("tab", name="Teach").focus()
    tab_to(page, "Name of what is learnt")
    page.keyboard.press("Control+a")
    page.keyboard.type("by-keys")
    page.keyboard.press("Enter")
    expect(panel.get_by_text("by-keys: learning")).to_be_visible()
    page.reload()
    expect(panel.get_by_text("by-keys: learning")).to_be_visible()
    tab_to(page, "Cancel")
    page.keyboard.press("Enter")
    expect(panel.get_by_text("by-keys: cancelled")).to_be_visible()
    expect(panel.get_by_role("button", name="Teach it")).to_be_focused()
    with seen.server.client() as client:
        left = client.get("/v1/adapters/by-keys").json()
        assert left["state"] == "cancelled" and "kind" not in left


FOCUSED = """() => { const { labels, ariaLabel, textContent } = document.activeElement;
  return ariaLabel || labels?.[0]?.textContent || textContent; }"""


def tab_to(page, name):
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED) == name:
            return
    raise AssertionError(f"{name} is not reached by Tab")


def test_what_is_missing_is_said_before_anything_is_sent(teach, pictures):
    seen, alert = teach, teach.panel("teach").get_by_role("alert")
    sent = []
    seen.page.on("request", lambda request: sent.append(request.method))
    file = pictures / "disc" / "0.png"
    for classes, said in [
        ([], "Two classes are needed"),
        ([("disc", file)], "Two classes are needed"),
        ([("disc", file), ("block",)], "The class block has no pictures."),
        ([("disc", file), ("", file)], "A class has pictures and no name."),
        ([("disc", file), ("disc", file)], "Two classes are named disc."),
        ([("disc", file), ('a "b"', file)], "can have neither"),
    ]:
        for n, (label, *files) in enumerate(classes, 1):
            fill_class(seen, n, label, *files)
        teach_it(seen)
        expect(alert).to_contain_text(said)
    assert "POST" not in sent
    group(seen, 1).get_by_role("button", name="Remove 0.png").click()
    expect(group(seen, 1).get_by_role("button", name="Choose pictures")).to_be_focused()
    expect(group(seen, 1)).to_contain_text("or drop them here")
    group(seen, 1).get_by_role("button", name="Remove class 1").click()
    expect(group(seen, 1).get_by_label("Name of the class")).to_have_value('a "b"')


def test_what_the_server_refuses_is_said_in_its_words(teach, pictures, tmp_path):
    seen, panel = teach, teach.panel("teach")
    fill_classes(seen, pictures)
    teach_it(seen, "base")
    expect(panel.get_by_role("alert")).to_contain_text('"base"')
    seen.expect_said("400")
    (tmp_path / "odd.png").write_bytes(b"no picture")
    seen.choose(group(seen, 1).get_by_role("button", name="Choose pictures"), tmp_path / "odd.png")
    teach_it(seen, "broken")
    expect(panel.get_by_text("broken: failed")).to_be_visible()
    expect(panel.get_by_role("alert")).to_contain_text("examples[block][4]")
    expect(panel.get_by_role("button", name="Teach it")).to_be_enabled()
    with seen.page.expect_response("**/v1/adapters?limit=*") as listed:
        seen.page.reload()
    assert [one["state"] for one in listed.value.json()["data"]] == ["failed"]
    expect(seen.page.locator("html[data-ready]")).to_be_attached()
    expect(panel.get_by_label("Adapter", exact=True)).to_be_hidden()


DROP = """([selector, files]) => {
  const data = new DataTransfer();
  files.forEach(([name, bytes]) => data.items.add(new File([new Uint8Array(bytes)], name)));
  document.querySelector(selector).dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def test_pictures_are_dropped_and_loose_ones_are_told(teach, pictures):
    seen, panel = teach, teach.panel("teach")
    files = [["0.png", list((pictures / "disc" / "0.png").read_bytes())]]
    expect(group(seen, 1)).to_be_visible()
    seen.page.evaluate(DROP, [".class .set", files])
    expect(group(seen, 1).get_by_role("button", name="Remove 0.png")).to_be_visible()
    seen.page.evaluate(DROP, [".classes + .set", files])
    expect(panel.get_by_role("alert")).to_contain_text("0.png lies in no folder")


def test_an_adapter_answers_in_try_until_other_labels_are_written(teach, pictures):
    seen, page = teach, teach.page
    examples = [{"image": b64((pictures / label / f"{i}.png").read_bytes()), "label": label} for label in SHAPES for i in range(4)]
    with seen.server.client() as client:
        assert client.post("/v1/adapters/shapes", json={"examples": examples, "kind": "probe"}).status_code == 202
        wait_until(lambda: client.get("/v1/adapters/shapes").json()["state"] == "ready", 60)
    page.get_by_role("tab", name="Try").click()
    panel = seen.panel("try")
    panel.get_by_label("Adapter", exact=True).select_option("shapes")
    expect(panel.get_by_label("Labels", exact=True)).to_have_value("block\ndisc")
    seen.choose(panel.get_by_role("button", name="Choose a file"), pictures / "disc" / "0.png")
    expect(panel.locator(".bars li").first).to_contain_text("disc")
    with page.expect_response("**/v1/classify"):
        panel.get_by_label("Strength").press("End")
    expect(panel.locator("[aria-busy=true]")).to_have_count(0)
    panel.locator("summary").click()
    expect(panel.get_by_role("region", name="curl")).to_contain_text("adapter=shapes")
    expect(panel.get_by_role("region", name="curl")).to_contain_text("strength=1")
    expect(panel.get_by_role("region", name="curl")).not_to_contain_text("labels")
    seen.screenshot("try-adapter")
    seen.check_axe()
    panel.get_by_label("Labels", exact=True).fill("cat\ndog")
    expect(panel.get_by_label("Adapter", exact=True)).to_have_value("")
    expect(panel.locator(".bars li .what").first).to_have_text("cat")
