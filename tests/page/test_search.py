"""Protects searching: a folder and a zip embedded in batches, found by words, pictures and both, kept, removed, resumed."""

import re
import zipfile

import pytest
from conftest import ROOT, example, expect, picture, wait_until

THOUSANDS = 2000


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Two thousand small pictures, in folders, and examples among them."""
    root = tmp_path_factory.mktemp("pictures")
    for i in range(THOUSANDS - 3):
        place = root / f"part{i % 7}"
        place.mkdir(exist_ok=True)
        (place / f"{i}.png").write_bytes(picture(i, (24, 20)))
    for name in ("cat.png", "rocket.jpg", "lemon.webp"):
        (root / name).write_bytes((ROOT / "examples" / name).read_bytes())
    (root / "notes.txt").write_text("no picture")
    return root


def names(seen, n=1):
    return seen.panel("search").locator(".found .name").all_inner_texts()[:n]


def first_is(seen, name):
    expect(seen.panel("search").locator(".found .name").first).to_have_text(name)


def test_two_thousand_pictures(visit, folder):
    seen = visit("search")
    page, panel = seen.page, seen.panel("search")
    seen.choose(page.get_by_role("button", name="Choose a folder"), folder)
    expect(panel.get_by_role("status")).to_contain_text(f"{THOUSANDS:,} added", timeout=180000)
    page.get_by_label("Words to search by").fill("a picture of a rocket")
    page.keyboard.press("Enter")
    first_is(seen, "rocket.jpg")
    seen.choose(page.get_by_role("button", name="Search by a picture"), example("lemon.webp"))
    expect(page.get_by_label("Words or picture")).to_be_visible()
    page.get_by_label("Words or picture").press("End")
    first_is(seen, "lemon.webp")
    page.get_by_label("Words or picture").press("Home")
    first_is(seen, "rocket.jpg")
    page.get_by_role("button", name="Search without the picture").click()
    page.get_by_role("button", name=re.compile("Pictures like .*rocket.jpg")).click()
    first_is(seen, "rocket.jpg")
    expect(panel.locator(".found li")).to_have_count(48)
    page.get_by_role("button", name="Show more").click()
    expect(panel.locator(".found li")).to_have_count(96)
    # What is there is not embedded again, and is still there after a reload.
    seen.choose(page.get_by_role("button", name="Choose a folder"), folder)
    expect(panel.get_by_role("status")).to_contain_text(f"0 added, {THOUSANDS:,} were there already")
    page.reload()
    expect(panel).to_contain_text(f"{THOUSANDS:,} pictures by")
    page.get_by_label("Words to search by").fill("a cat")
    page.get_by_role("button", name="Search", exact=True).click()
    first_is(seen, "cat.png")
    page.get_by_role("button", name=re.compile("Remove .*cat.png")).press("Enter")
    expect(panel).to_contain_text(f"{THOUSANDS - 1:,} pictures by")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove all").click()
    expect(panel).to_contain_text("No pictures yet.")


def archive(path, method, comment=b""):
    with zipfile.ZipFile(path, "w", method) as out:
        out.comment = comment
        out.write(example("cat.png"), "pets/cat.png")
        out.write(example("rocket.jpg"), "絵/ロケット.jpg")
        out.writestr("__MACOSX/._cat.png", b"of a system")
        out.writestr("notes.txt", b"no picture")
        out.writestr("broken.png", b"no picture either")
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip(visit, tmp_path, method):
    seen = visit("search")
    panel = seen.panel("search")
    seen.choose(seen.page.get_by_role("button", name="Choose pictures or a zip"), archive(tmp_path / "a.zip", method, b"with a comment"))
    expect(panel.get_by_role("status")).to_contain_text("2 added, 0 were there already, 1 could not be read")
    seen.expect_said("400")
    panel.locator("summary").click()
    expect(panel.locator(".failures")).to_contain_text("broken.png: not a picture of a known type")
    assert sorted(names(seen, 9)) == ["cat.png", "ロケット.jpg"]


@pytest.mark.parametrize("harm", ["cut", "empty", "directory"])
def test_a_zip_that_is_none(visit, tmp_path, harm):
    whole = archive(tmp_path / "a.zip", zipfile.ZIP_DEFLATED).read_bytes()
    broken = {"cut": whole[: len(whole) // 2], "empty": b"", "directory": whole.replace(b"PK\x01\x02", b"XX\x01\x02")}[harm]
    (tmp_path / "b.zip").write_bytes(broken)
    seen = visit("search")
    seen.choose(seen.page.get_by_role("button", name="Choose pictures or a zip"), tmp_path / "b.zip")
    expect(seen.panel("search").get_by_role("alert")).to_contain_text("b.zip is no zip file that can be read")


@pytest.mark.parametrize("stated, said", [(10, "other bytes than its directory states"), (2**31, "larger than 64 MB")])
def test_a_zip_whose_directory_lies(visit, tmp_path, stated, said):
    """Neither is unpacked beyond what is stated, nor is what is stated taken for granted."""
    data = bytearray(archive(tmp_path / "a.zip", zipfile.ZIP_DEFLATED).read_bytes())
    for entry in re.finditer(b"PK\x01\x02", bytes(data)):
        data[entry.start() + 24 : entry.start() + 28] = stated.to_bytes(4, "little")
    (tmp_path / "b.zip").write_bytes(data)
    seen = visit("search")
    seen.choose(seen.page.get_by_role("button", name="Choose pictures or a zip"), tmp_path / "b.zip")
    expect(seen.panel("search").get_by_role("status")).to_contain_text("0 added, 0 were there already, 3 could not be read")
    seen.panel("search").locator("summary").click()
    expect(seen.panel("search").locator(".failures li")).to_contain_text([said] * 3)


def test_a_busy_server_is_waited_for(visit, folder):
    """Every third request is refused as a full queue refuses; all pictures come in nevertheless."""
    seen = visit("search")
    asked = []

    def refuse(route):
        asked.append(route.request.url)
        if len(asked) % 3 == 1:
            body = '{"error":{"message":"busy","code":"queue_full","param":null}}'
            route.fulfill(status=429, headers={"Retry-After": "0"}, content_type="application/json", body=body)
        else:
            route.continue_()

    seen.page.route(re.compile("/v1/embeddings$"), refuse)
    seen.choose(seen.page.get_by_role("button", name="Choose a folder"), folder / "part0")
    expect(seen.panel("search").get_by_role("status")).to_contain_text("0 could not be read", timeout=60000)
    seen.expect_said("429")
    assert len(asked) > len(list((folder / "part0").iterdir())) // 16 + 1


def test_what_comes_while_others_are_embedded_waits_its_turn(visit):
    seen = visit("search")
    held = []
    seen.page.route(re.compile("/v1/embeddings$"), lambda route: route.continue_() if held else held.append(route))
    seen.choose(seen.page.get_by_role("button", name="Choose pictures or a zip"), example("cat.png"))
    wait_until(lambda: held or seen.page.wait_for_timeout(50))  # which lets the page go on
    seen.choose(seen.page.get_by_role("button", name="Choose pictures or a zip"), example("rocket.jpg"), example("lemon.webp"))
    held[0].continue_()
    expect(seen.panel("search").locator(".found li")).to_have_count(3)


def test_what_comes_before_the_models_are_known_is_kept_for_then(visit):
    seen = visit()
    held = []
    seen.page.route(re.compile("/v1/models$"), lambda route: held.append(route))
    seen.page.goto(f"{seen.server.url}/#search")
    seen.page.reload()
    seen.choose(seen.page.get_by_role("button", name="Choose pictures or a zip"), example("cat.png"))
    assert seen.panel("search").locator(".found li").count() == 0
    for route in held:
        route.continue_()
    expect(seen.panel("search").locator(".found li")).to_have_count(1)


def test_stopping_keeps_what_is_there(visit, folder):
    seen = visit("search")
    panel = seen.panel("search")
    seen.choose(seen.page.get_by_role("button", name="Choose a folder"), folder)
    seen.page.get_by_role("button", name="Cancel").click()
    expect(panel.get_by_role("status")).to_contain_text("Stopped.")
    seen.choose(seen.page.get_by_role("button", name="Choose a folder"), folder / "part1")
    expect(panel.get_by_role("status")).to_contain_text("0 could not be read", timeout=60000)
