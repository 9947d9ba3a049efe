"""Protects what is looked at: the inside of a model, the monitor, load tests."""

import re
import threading

import httpx
import pytest
from conftest import ADMIN, USER, expect
from test_views import log_in


def test_patches_and_tokens_by_expert(visit, server):
    seen = visit("inside")
    page, panel = seen.page, seen.panel("inside")
    panel.get_by_role("button", name="Example: cat").click()
    expect(panel.locator(".patch")).to_have_count(25)
    panel.get_by_role("button", name="Block 5").click()
    expect(panel.get_by_role("button", name="Block 5")).to_have_attribute("aria-pressed", "true")
    panel.locator(".patches").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    answer = httpx.post(server.url + "/v1/routing", json={"input": [{"image": picture_of("cat.png")}, {"text": "a picture of a cat"}]}).json()
    layer = next(layer for layer in answer["data"][0]["layers"] if layer["block"] == 5)
    said = f"Patch in row 2, column 2: expert {layer['experts'][6][0]}, gate {layer['gates'][6][0]:.3f}"
    expect(panel.get_by_role("status")).to_have_text(said)
    tokens = panel.locator(".token")
    assert tokens.all_inner_texts() == [str(token) for token in answer["data"][1]["token_ids"]]
    tokens.first.hover()
    layer = next(layer for layer in answer["data"][1]["layers"] if layer["block"] == 5)
    expect(panel.get_by_role("status")).to_contain_text(f"expert {layer['experts'][0][0]}, gate {layer['gates'][0][0]:.3f}")
    box = panel.locator(".patches").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1)
    expect(panel.get_by_role("status")).to_contain_text("Patch in row 1, column 5")


def picture_of(name):
    import base64

    from conftest import ROOT

    return base64.b64encode((ROOT / "examples" / name).read_bytes()).decode()


def test_where_a_score_comes_from(visit, server):
    """The map of the text that stands there, anew with each text, and none without."""
    seen = visit("inside")
    panel = seen.panel("inside")
    shares = panel.get_by_role("figure")
    panel.get_by_role("button", name="Example: cat").click()
    image = shares.get_by_role("img", name="The picture in grey")
    expect(image).to_be_visible()
    first = image.get_attribute("src")
    assert image.evaluate("image => [image.complete, image.naturalWidth]") == [True, 420]
    expect(shares).to_contain_text("Where the text's score comes from")
    panel.get_by_label("A text beside it").fill("a rocket")
    expect(image).not_to_have_attribute("src", first)
    seen.check_axe()
    panel.get_by_label("A text beside it").fill("")
    expect(shares).to_be_hidden()
    expect(panel.locator(".patch")).to_have_count(25)


def test_the_monitor_follows_the_server(visit, server):
    seen = visit("monitor")
    panel = seen.panel("monitor")
    over = threading.Event()

    def ask():
        with server.client() as client:
            while not over.wait(0.02):
                client.post("/v1/embeddings", json={"input": [{"image": picture_of("cat.png")}, "a cat"]})

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        expect(panel.locator(".tile", has_text="Status")).to_contain_text("ok")
        expect(panel.locator(".keys li", has_text=re.compile(r"^200: [1-9]"))).to_be_visible()
        expect(panel.locator(".keys li", has_text=re.compile(r"^inference p50: \d"))).to_be_visible()
        expect(panel.locator(".keys li", has_text=re.compile(r"^items: [12]"))).to_be_visible()
    finally:
        over.set()
        thread.join()
    expect(panel.get_by_role("table", name="Experts of pictograms")).to_be_visible()
    assert panel.locator(".heat tbody tr").count() == 4
    panel.get_by_label("What is routed").select_option("text")
    expect(panel.locator(".heat td").first).to_be_visible()
    expect(panel.get_by_role("row", name="pictograms")).to_contain_text("bfloat16" if server.metric('limoe_model_info{dtype="bfloat16"}') else "float32")
    seen.screenshot("monitor-busy")
    panel.get_by_role("button", name="Pause").press("Enter")
    expect(panel.get_by_role("button", name="Go on")).to_be_visible()


def test_a_load_test_is_started_watched_stopped_and_kept(visit, locked):
    seen = visit("load-test", at=locked)
    page, panel = seen.page, seen.panel("load-test")
    log_in(seen, ADMIN)
    seen.expect_said("401")
    for seconds, ending in (("2", None), ("300", "Stop")):
        panel.get_by_label("Requests a second").fill("15")
        panel.get_by_label("Seconds").fill(seconds)
        panel.get_by_role("button", name="Start").press("Enter")
        expect(panel.get_by_role("status")).to_contain_text("running")
        expect(panel.locator(".tile", has_text="Answered").locator("dd")).to_have_text(re.compile(r"^[1-9]"))
        expect(panel.locator(".bars li").first).to_be_visible()
        if ending:
            panel.get_by_role("button", name=ending).click()
        expect(panel.get_by_role("status")).to_have_text(re.compile("^stopped" if ending else "^done"))
    expect(panel.locator("tbody tr")).to_have_count(2)
    seen.screenshot("loadtest-ended")
    seen.check_axe()
    seen.check_words()
    expect(panel.locator(".keys li")).not_to_have_count(0)
    assert not locked.children("loadtest")
    page.reload()
    expect(panel.locator("tbody tr")).to_have_count(2)
    panel.locator("tbody input").first.check()
    expect(panel.get_by_role("heading", name="Latency from the least")).to_be_visible()
    panel.get_by_role("button", name=re.compile("Remove the test")).first.click()
    expect(panel.locator("tbody tr")).to_have_count(1)


@pytest.mark.parametrize("key, said", [(USER, "this needs an admin key, not an API key")])
def test_without_an_admin_key_it_says_why(visit, locked, key, said):
    seen = visit("load-test", at=locked)
    log_in(seen, key)
    seen.expect_said("401")
    expect(seen.panel("load-test").get_by_role("alert")).to_contain_text(said)
    seen.panel("load-test").get_by_role("button", name="Start").click()
    expect(seen.panel("load-test").get_by_role("alert")).to_contain_text(said)
    seen.expect_said("403")
