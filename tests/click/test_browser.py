"""The page in a real browser, with the real service and the nano model."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import perception as pc
from perception.coco.lint.faults import Findings, Severity
from perception.coco.lint.lint import lint
from perception.coco.lint.read import read_coco
from perception.ops.masks import mask_to_rle, rle_to_mask
from perception.runs.annotate import annotate
from perception.types import BoolArray, Rle

if TYPE_CHECKING:
    from served import Served, Tab

pytestmark = pytest.mark.slow

Serve = Callable[..., "Served"]
Look = Callable[..., "Tab"]

PARK = Path(__file__).parents[2] / "demos" / "images" / "park.jpg"
DOG, CAT, BICYCLE = (210.0, 395.0), (90.0, 415.0), (410.0, 335.0, 548.0, 440.0)
BICYCLE_GAP = (480.0, 345.0)


def iou(a: BoolArray, b: BoolArray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.fixture(scope="module")
def model() -> pc.Model:
    return pc.load("nano")


@pytest.mark.parametrize("where", ["page", "service"])
def test_clicks_give_pythons_masks(
    shared: Served, look: Look, model: pc.Model, where: str, runtime: None
) -> None:
    tab, session = look(shared), model.interactive(PARK)
    if where == "service":
        tab.page.route("**/api/session*", not_in_page)
    tab.open("park.jpg")
    assert tab.state("decoder") == where
    before = len(tab.calls)
    tab.page.mouse.move(*tab.place(*DOG))
    tab.page.wait_for_timeout(300)
    tab.shot("hover")
    assert [call for call in tab.calls[before:] if "/api/tab" not in call] == []
    tab.click(*DOG)
    found = tab.answered()
    tab.shot("click")
    assert iou(found, session.click(*DOG).mask()) >= 0.99
    assert found[int(DOG[1]), int(DOG[0])]

    shown = [tab.see("draft.answer.candidate")]
    for _ in range(2):
        tab.press("Tab")
        found = until_candidate_changes(tab, shown)
        assert iou(found, session.choose(shown[-1]).mask()) >= 0.99
    assert sorted(shown) == [0, 1, 2]
    tab.shot("candidate")

    out = (DOG[0] + 8, DOG[1] + 40)
    tab.click(*out, button="right")
    assert iou(tab.answered(), session.click(*out, label=0).mask()) >= 0.99
    tab.shot("out")
    asked = {call.split("?")[0].split("/api/")[-1] for call in tab.calls[before:]} - {"tab"}
    assert asked == ({"embedding", "cells"} if where == "page" else {"click"})

    tab.press("Escape")
    tab.drag(BICYCLE[:2], BICYCLE[2:])
    boxed = model.interactive(PARK)
    assert iou(tab.answered(), boxed.box(BICYCLE).mask()) >= 0.99
    tab.shot("box")
    tab.click(*BICYCLE_GAP, button="right")
    assert iou(tab.answered(), boxed.click(*BICYCLE_GAP, label=0).mask()) >= 0.99


def test_with_the_service_away_clicks_go_on_in_the_whole_image(
    shared: Served, look: Look, model: pc.Model, runtime: None
) -> None:
    tab = look(shared)
    tab.open("park.jpg")
    for path in ("embedding", "cells"):
        tab.page.route(f"**/api/{path}*window*", lambda route: route.abort())
    tab.click(*DOG)
    assert tab.answered()[int(DOG[1]), int(DOG[0])]
    assert tab.see("draft.answer.coarse")
    assert "preview" in tab.page.inner_text("#work-quality")
    tab.shot("coarse")
    for path in ("embedding", "cells"):
        tab.page.unroute(f"**/api/{path}*window*")
    from served import until

    until(lambda: not tab.see("draft.answer.coarse"), "the service's return")
    assert iou(tab.mask(), model.interactive(PARK).click(*DOG).mask()) >= 0.99
    assert all("ERR_FAILED" in error for error in tab.errors)
    tab.errors.clear()


def not_in_page(route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, json={**answer.json(), "inPage": False})


def until_candidate_changes(tab: Tab, shown: list[int]) -> BoolArray:
    from served import until

    until(lambda: tab.see("draft.answer.candidate") != shown[-1], "the next candidate")
    shown.append(tab.see("draft.answer.candidate"))
    return tab.mask()


def test_without_its_runtime_the_page_asks_the_service(
    shared: Served, look: Look, runtime: None
) -> None:
    tab = look(shared)
    tab.page.route("**/runtime/*", lambda route: route.abort())
    tab.open("park.jpg")
    assert tab.state("decoder") == "service"
    assert "service" in tab.page.inner_text("#decoder")
    tab.click(*DOG)
    assert tab.answered()[int(DOG[1]), int(DOG[0])]
    assert all("ERR_FAILED" in error for error in tab.errors)
    tab.errors.clear()


def test_every_deed_can_be_undone(shared: Served, look: Look) -> None:
    tab = look(shared)
    tab.open("undone.jpg")
    dog, cat = tab.add_class("dog"), tab.add_class("cat")
    tab.press(dog)
    tab.click(*DOG)
    first = tab.answered()
    tab.click(DOG[0] - 20, DOG[1] - 15)
    second = tab.answered()
    tab.press("Control+z")
    np.testing.assert_array_equal(tab.mask(), first)
    tab.press("Control+z")
    assert tab.see("mask") is None
    tab.press("Control+Shift+z", "Control+y")
    np.testing.assert_array_equal(tab.mask(), second)

    tab.press("b", "]", "]")
    tab.drag((250.0, 300.0), (300.0, 300.0))
    painted = tab.mask()
    assert painted[300, 250:300].all()
    np.testing.assert_array_equal(painted & second, second)
    tab.shot("brush")
    tab.press("e")
    tab.drag((275.0, 280.0), (275.0, 320.0))
    assert not tab.mask()[300, 275]
    assert tab.mask()[300, 255]
    tab.shot("eraser")
    tab.press("Control+z")
    np.testing.assert_array_equal(tab.mask(), painted)

    tab.press("Enter")
    (mark,) = tab.marks()
    assert (mark["class"], mark["origin"], mark["score"]) == ("dog", "hand", None)
    np.testing.assert_array_equal(rle_to_mask(Rle((480, 640), mark["rle"]["counts"])), painted)
    tab.press("c")
    tab.click(270.0, 300.0)
    assert tab.see("selected") == mark["uid"]
    tab.press(cat)
    assert [one["class"] for one in tab.marks()] == ["cat"]
    tab.press("Delete")
    assert tab.marks() == []
    tab.press("Control+z")
    assert [one["class"] for one in tab.marks()] == ["cat"]
    tab.press("Control+z")
    assert tab.marks() == [mark]
    tab.saved()


def test_a_picture_that_is_left_keeps_its_unfinished_mask(serve: Serve, look: Look) -> None:
    from served import until

    tab = look(serve("park.jpg", "street.jpg"))
    tab.open("park.jpg")
    dog = tab.add_class("dog")
    tab.press(dog)
    tab.click(*DOG)
    found = tab.answered()
    tab.press("n")
    said = tab.page.inner_text("#message")
    assert said == "park.jpg: its mask isn't accepted yet; it waits there"
    tab.ready("street.jpg")
    assert (tab.see("draft"), tab.marks()) == (None, [])
    tab.shot("left")
    tab.press("Control+s")
    until(lambda: "annotations.json" in tab.page.inner_text("#message"), "the file")
    assert tab.page.inner_text("#message") == (
        "annotations.json: 0 instances in 0 images, without the masks that aren't accepted yet "
        "(park.jpg)"
    )
    row = tab.page.locator("#picture-list .row", has_text="park.jpg")
    assert "a mask isn't accepted yet" in str(row.get_attribute("aria-label"))
    tab.press("p")
    tab.ready("park.jpg")
    np.testing.assert_array_equal(tab.mask(), found)
    tab.click(DOG[0] - 20, DOG[1] - 15)
    tab.answered()
    tab.press("Control+z")
    np.testing.assert_array_equal(tab.mask(), found)
    tab.press("Enter")
    assert [mark["class"] for mark in tab.marks()] == ["dog"]
    tab.saved()
    tab.press("n")
    tab.ready("street.jpg")
    assert not tab.page.is_visible("#message")
    tab.press("p")
    tab.ready("park.jpg")
    tab.press("Control+z")
    assert tab.marks() == []
    np.testing.assert_array_equal(tab.mask(), found)
    asked: list[str] = []
    tab.page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    tab.page.reload()
    tab.ready("park.jpg")
    assert asked == ["beforeunload"]


def test_a_reload_is_no_other_tab(shared: Served, look: Look) -> None:
    from served import until

    tab = look(shared)
    tab.open("reload.jpg")
    for _ in range(3):
        with tab.page.expect_response("**/api/tab*") as told:
            tab.page.reload()
        assert told.value.json() == {"others": 0}
        tab.ready("reload.jpg")
        assert not tab.page.is_visible("#others")
    until(lambda: sum("/api/tab" in call for call in tab.calls) >= 4, "the tabs' calls")


@pytest.mark.parametrize("width", [360, 390])
def test_the_page_on_a_phone(serve: Serve, look: Look, width: int) -> None:
    tab = look(
        serve("park.jpg", "street.jpg"),
        viewport={"width": width, "height": 844},
        has_touch=True,
        device_scale_factor=2,
    )
    tab.open("park.jpg")
    tab.add_class("dog")
    tab.page.touchscreen.tap(*tab.place(*DOG))
    assert tab.answered()[int(DOG[1]), int(DOG[0])]
    tab.shot("work")
    hidden = tab.page.evaluate(
        """() => [...document.querySelectorAll("button, a.button, input, #name, #place")]
          .filter((one) => one.offsetParent && !one.closest("#pictures, dialog"))
          .filter((one) => {
            const { left, right, top, bottom } = one.getBoundingClientRect();
            const at = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
            return left < 0 || right > innerWidth || top < 0 || bottom > innerHeight
              || right - left < 20 || !(one.contains(at) || at?.contains(one));
          })
          .map((one) => one.id || one.outerHTML)"""
    )
    assert hidden == []
    tab.page.click("#work >> text=Accept")
    assert [mark["class"] for mark in tab.marks()] == ["dog"]
    tab.page.click("#menu")
    tab.shot("list")
    tab.page.click("text=street.jpg")
    tab.ready("street.jpg")
    tab.page.click("[data-value=brush]")
    tab.shot("brush")
    view, stage = tab.see("view"), tab.page.locator("#stage").bounding_box()
    assert stage is not None
    assert view["x"] >= 0
    assert view["x"] + 640 * view["scale"] <= stage["width"] == width
    assert tab.page.evaluate("[scrollX, document.body.scrollLeft]") == [0, 0]


def test_words_that_find_nothing_are_explained(shared: Served, look: Look) -> None:
    from served import until

    tab = look(shared)
    tab.open("park.jpg")
    tab.find("where is the zebroid?")
    until(lambda: "Nothing found" in tab.page.inner_text("#message"), "why")
    said = tab.page.inner_text("#message")
    assert '"where is the zebroid?" reads as a question' in said
    assert 'give names of things: "zebroid"' in said
    assert "--text" not in said
    tab.shot("why")
    tab.find("zebroid")
    until(lambda: "weights pull base" in tab.page.inner_text("#message"), "what to try")


def test_from_text_to_a_file_and_back(serve: Serve, look: Look) -> None:
    from served import until

    served = serve("park.jpg", "shapes.jpg")
    tab = look(served)
    tab.open("park.jpg")
    tab.find("animal: cat | dog. balloon. tiger")
    until(lambda: len(tab.marks()) >= 3, "what the text names")
    assert "no tiger" in tab.page.inner_text("#message")
    assert {mark["origin"] for mark in tab.marks()} == {"model"}
    tab.shot("text")

    (balloon,) = [mark for mark in tab.marks() if mark["class"] == "balloon"]
    tab.click(560.0, 60.0)
    assert tab.see("selected") == balloon["uid"]
    tab.click(575.0, 115.0)
    tab.answered()
    tab.shot("correct")
    tab.press("Enter")
    (corrected,) = [mark for mark in tab.marks() if mark["uid"] == balloon["uid"]]
    assert corrected["origin"] == "corrected"
    tab.click(*CAT)
    tab.press("2")
    tab.shot("class")
    tab.press("Escape")
    tab.drag((430.0, 90.0), (475.0, 180.0))
    tab.answered()
    tab.press("Enter")
    assert [mark["origin"] for mark in tab.marks()].count("hand") == 1
    tab.saved()
    marks = tab.marks()

    tab.press("n")
    tab.ready("shapes.jpg")
    assert tab.marks() == []
    tab.press("p")
    tab.ready("park.jpg")
    assert tab.marks() == marks
    tab.page.reload()
    tab.ready("park.jpg")
    assert tab.marks() == marks
    tab.press("Control+s")
    until(lambda: "instances" in tab.page.inner_text("#message"), "the file")
    tab.shot("saved")
    findings = Findings()
    coco = read_coco(served.out, findings)
    lint(coco, findings)
    faults = [fault for fault in findings.faults() if fault.kind.severity != Severity.NOTE]
    assert faults == []
    origins = [annotation["origin"] for annotation in coco["annotations"]]
    assert sorted(set(origins)) == ["corrected", "hand", "model"]
    assert [one["segmentation"]["counts"] for one in coco["annotations"]] == [
        mark["rle"]["counts"] for mark in marks
    ]


def test_two_tabs_lose_nothing(shared: Served, look: Look) -> None:
    from served import until

    mine, theirs = look(shared), look(shared)
    mine.open("tabs.jpg")
    mine.add_class("thing")
    mine.saved()
    theirs.open("tabs.jpg")
    until(lambda: theirs.page.is_visible("#others"), "the notice of another tab")
    theirs.shot("others")
    for tab, place in ((theirs, CAT), (mine, DOG)):
        tab.click(*place)
        tab.answered()
        tab.press("Enter")
        assert len(tab.marks()) == 1
        until(lambda tab=tab: tab.state("saved") in ("saved", "conflict"), "saving")
    assert mine.state("saved") == "conflict"
    assert mine.page.is_visible("#conflict")
    mine.shot("conflict")
    mine.page.click("text=Keep both")
    mine.saved()
    uids = {mark["uid"] for mark in mine.marks()}
    assert len(uids) == 2
    assert {mark["uid"] for mark in theirs.marks()} < uids
    theirs.page.reload()
    theirs.ready("tabs.jpg")
    assert theirs.marks() == mine.marks()
    assert all("409" in error for error in mine.errors)
    mine.errors.clear()


def test_a_service_that_is_killed_loses_nothing(serve: Serve, look: Look, runtime: None) -> None:
    from served import until

    served = serve("park.jpg")
    tab = look(served)
    tab.open("park.jpg")
    tab.add_class("thing")
    tab.click(*DOG)
    tab.answered()
    tab.press("Enter")
    tab.saved()
    served.end(signal.SIGKILL)
    tab.click(*CAT)
    tab.answered()  # The decoder is in the page.
    tab.press("Enter")
    until(lambda: tab.state("saved") == "failed", "the failure")
    tab.shot("no-service")
    marks = tab.marks()
    assert len(marks) == 2
    served.start()
    tab.saved()
    tab.page.reload()
    tab.ready("park.jpg")
    assert tab.marks() == marks
    assert all("ERR_CONNECTION_REFUSED" in error for error in tab.errors)
    tab.errors.clear()


def test_what_a_killed_service_has_missed_comes_with_the_next_visit(
    shared: Served, look: Look
) -> None:
    from served import until

    tab = look(shared)
    tab.open("visit.jpg")
    tab.add_class("thing")
    tab.press("b")
    tab.page.route("**/api/marks*", lambda route: route.abort())
    tab.drag((100.0, 100.0), (150.0, 120.0))
    tab.press("Enter")
    until(lambda: tab.state("saved") == "failed", "the failure")
    marks = tab.marks()
    tab.page.unroute_all()
    tab.page.once("dialog", lambda dialog: dialog.accept())
    tab.page.reload()
    tab.ready("visit.jpg")
    assert tab.marks() == marks
    tab.saved()
    assert all("ERR_FAILED" in error for error in tab.errors)
    tab.errors.clear()


def test_the_page_on_a_tablet_in_the_light(shared: Served, look: Look) -> None:
    tab = look(
        shared,
        viewport={"width": 820, "height": 1180},
        has_touch=True,
        color_scheme="light",
    )
    tab.open("park.jpg")
    assert tab.state("theme") == "light"
    tab.page.click("#theme")
    assert tab.state("theme") == "dark"
    tab.page.touchscreen.tap(*tab.place(*DOG))
    assert tab.answered()[int(DOG[1]), int(DOG[0])]
    tab.shot("tap")
    tab.page.click('[data-label="0"]')
    tab.page.touchscreen.tap(*tab.place(DOG[0], DOG[1] + 40))
    tab.answered()
    assert tab.see("draft.labels") == [1, 0]
    tab.page.click("#work >> text=Drop")
    tab.page.click("#menu")
    tab.page.click("text=street.jpg")
    tab.ready("street.jpg")
    tab.shot("next")


def test_everything_has_a_name_and_the_help_lists_the_keys(shared: Served, look: Look) -> None:
    tab = look(shared)
    tab.open("street.jpg")
    unnamed = tab.page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, [role=listbox]")]
          .filter((one) => !(one.innerText.trim() || one.ariaLabel
            || one.getAttribute("aria-labelledby")))
          .map((one) => one.outerHTML)"""
    )
    assert unnamed == []
    tab.press("?")
    tab.shot("help")
    said = tab.page.inner_text("#help")
    assert all(key in said for key in ("Tab", "Ctrl Z", "smaller brush", "Right or Alt click"))
    tab.press("Escape")
    assert not tab.page.is_visible("#help")


def test_a_dropped_picture_joins_the_folder(serve: Serve, look: Look) -> None:
    served = serve("shapes.jpg")
    tab = look(served)
    tab.open("shapes.jpg")
    before = {path.name for path in served.folder.iterdir()}
    tab.page.evaluate(
        """async () => {
          const blob = await (await fetch("/api/image?picture=shapes.jpg")).blob();
          const data = new DataTransfer();
          data.items.add(new File([blob], "again.jpg", { type: blob.type }));
          dispatchEvent(new DragEvent("drop", { dataTransfer: data }));
        }"""
    )
    from served import until

    until(lambda: tab.state("picture") != "shapes.jpg", "the new image")
    tab.ready(tab.state("picture"))
    assert tab.page.inner_text("#place") in ("1 / 2", "2 / 2")
    assert len({path.name for path in served.folder.iterdir()} - before) == 1


def test_zoom_keeps_the_place_under_the_pointer(shared: Served, look: Look) -> None:
    tab = look(shared)
    tab.open("park.jpg")
    tab.page.mouse.move(*tab.place(*DOG))
    tab.page.mouse.wheel(0, -400)
    tab.page.wait_for_timeout(100)
    before, (x, y) = tab.see("view"), tab.place(*DOG)
    tab.press("c")
    tab.page.mouse.down(button="middle")
    tab.page.mouse.move(x + 30, y - 20)
    tab.page.mouse.up(button="middle")
    after = tab.see("view")
    assert after["scale"] == before["scale"] > 1.5
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((30, -20), abs=0.2)
    tab.click(*DOG)
    assert tab.answered()[int(DOG[1]), int(DOG[0])]
    tab.shot("zoomed")
    tab.press("0")
    assert tab.see("view")["scale"] < before["scale"]


def test_a_long_list_comes_as_it_is_looked_at(serve: Serve, look: Look, tmp_path: Path) -> None:
    """Of 452 images, two of which a model has answered."""
    from served import until

    folder = tmp_path / "pictures"
    served = serve("park.jpg", "street.jpg", wait=True)
    annotate(lambda: pc.load("nano"), [str(folder)], "tree. car", served.out)
    tiny = Image.new("RGB", (8, 6), "red")
    for n in range(450):
        tiny.save(folder / f"tiny-{n:03d}.png")
    served.start()
    tab = look(served)
    tab.open("park.jpg")
    rows = tab.page.locator("#picture-list .row")
    until(lambda: rows.first.locator(".count").inner_text(), "the number of marks")
    assert rows.first.locator(".count").inner_text() == str(len(tab.marks()))
    assert tab.page.inner_text("#place") == "1 / 452"

    def asked(path: str) -> list[str]:
        return [call for call in tab.calls if f"/api/{path}?" in call]

    assert len(asked("pictures")) == 1
    assert len(asked("counts")) <= 2  # The open image goes first.
    tab.page.evaluate("document.getElementById('picture-list').scrollTop = 1e9")
    until(lambda: "tiny-449.png" in rows.last.inner_text(), "the last rows")
    assert len(asked("pictures")) == 2
    rows.last.click()
    tab.ready("tiny-449.png")
    assert tab.page.inner_text("#place") == "452 / 452"
    tab.press("n")
    until(lambda: "last" in tab.page.inner_text("#message"), "the end")
    tab.press("p")
    tab.ready("tiny-448.png")
    tab.page.fill("#filter", "Y-20")
    until(lambda: rows.count() == 10, "what was searched")
    tab.page.focus("#stage")
    tab.press("n")  # On to the first of these.
    tab.ready("tiny-200.png")
    assert tab.page.inner_text("#place") == "1 / 10"
    tab.shot("searched")
    tab.page.goto(f"{tab.address}?#tiny-250.png")
    tab.ready("tiny-250.png")
    until(lambda: tab.page.inner_text("#place") == "253 / 452", "its place")
    until(lambda: tab.page.locator("#picture-list .picked").is_visible(), "its row")


def test_rle_of_the_page_is_ours(shared: Served, look: Look) -> None:
    tab = look(shared)
    tab.open("park.jpg")
    tab.click(*DOG)
    mask = tab.answered()
    assert tab.see("mask")["counts"] == mask_to_rle(mask).counts
