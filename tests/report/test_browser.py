"""The report in a real browser: quiet, complete in itself, usable with keys, and no wider than the window."""

import pytest
from browser import WIDTHS, chromium, opened
from report_content import EVIL, empty_content, full_content
from test_page import evil_content, long_content

from cohortseg.report.page import render


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(full_content()), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("content", [full_content, empty_content, evil_content, long_content])
def test_it_is_quiet_asks_for_nothing_and_fits_the_window(browser, tmp_path, content, width):
    path = tmp_path / "report.html"
    path.write_text(render(content()), encoding="utf-8")
    with opened(browser, path, width=width) as here:
        here.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        here.page.wait_for_timeout(50)
        assert here.complaints == []
        assert here.overflow_px() <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_no_serious_fault(browser, report, width, scheme):
    with opened(browser, report, width=width, color_scheme=scheme) as here:
        here.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert here.serious_faults() == []


def test_axe_would_find_one(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text('<!doctype html><title>x</title><img src="data:,"><input>')
    with opened(browser, path) as here:
        faults = " ".join(here.serious_faults())
        assert "image-alt" in faults
        assert "label" in faults


def test_a_slider_leafs_through_the_slices_with_the_arrow_keys(browser, report):
    with opened(browser, report) as here:
        plane = here.page.locator(".plane").first
        window, slider, words = plane.locator(".window"), plane.locator("input"), plane.locator("output")
        before = window.evaluate("(each) => getComputedStyle(each).backgroundPosition")
        lines = plane.locator(".prediction").evaluate("(each) => getComputedStyle(each).backgroundPosition")
        assert lines == before
        assert words.inner_text() == "13 of 40"
        slider.focus()
        here.page.keyboard.press("ArrowRight")
        assert words.inner_text() == "14 of 40"
        assert slider.get_attribute("aria-valuetext") == "slice 14 of 40"
        assert window.evaluate("(each) => getComputedStyle(each).backgroundPosition") != before
        here.page.keyboard.press("End")
        assert words.inner_text() == "15 of 40"
        assert window.evaluate("(each) => getComputedStyle(each).backgroundPositionY") == "100%"
        assert here.page.locator(".plane output").nth(1).inner_text() == "13 of 40"  # the others stay


def test_outlines_can_be_taken_off(browser, report):
    with opened(browser, report) as here:
        reference, prediction = (here.page.locator(f".lines.{whose}").first for whose in ("reference", "prediction"))
        assert reference.is_visible()
        here.page.get_by_role("checkbox", name="Reference").uncheck()
        assert not reference.is_visible()
        assert prediction.is_visible()


def test_tables_sort_by_mouse_and_by_key_and_say_so(browser, report):
    with opened(browser, report) as here:
        table = here.page.locator("#results + * ~ .scroll table[data-sortable], section:has(#results) table").first
        heading = table.locator("thead th").nth(3)  # Dice
        values = "(cells) => cells.map((cell) => Number(cell.dataset.key))"
        column = table.locator("tbody tr > :nth-child(4)")
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == "ascending"
        rising = column.evaluate_all(values)
        assert rising == sorted(rising)
        assert len(set(rising)) > 1
        here.page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "descending"
        assert column.evaluate_all(values) == rising[::-1]
        here.page.keyboard.press("Shift+Tab")
        here.page.keyboard.press("Space")
        assert heading.get_attribute("aria-sort") is None


@pytest.mark.parametrize("width", WIDTHS)
def test_every_control_is_large_enough_for_a_finger(browser, report, width):
    with opened(browser, report, width=width) as here:
        heights = here.page.locator(".plane input").evaluate_all(
            "(all) => all.map((each) => each.getBoundingClientRect().height)"
        )
        assert min(heights) >= 24


def test_without_scripts_everything_is_still_read(browser, report):
    with opened(browser, report, java_script_enabled=False) as here:
        assert not here.page.locator(".plane input").first.is_visible()
        assert here.page.locator(".unscripted").first.inner_text() == "axial, slice 13 of 40"
        assert here.page.locator(".window").first.is_visible()


def test_on_paper_the_controls_are_gone_and_details_are_open(browser, report):
    with opened(browser, report, width=700) as here:
        here.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        here.page.emulate_media(media="print")
        assert not here.page.locator("nav").is_visible()
        assert not here.page.locator(".plane input").first.is_visible()
        assert here.page.locator("details table").first.is_visible()
        assert len(here.page.pdf()) > 20_000


def test_hostile_names_are_text(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render(evil_content()), encoding="utf-8")
    with opened(browser, path) as here:
        assert here.page.locator("h1").inner_text() == EVIL
        assert here.page.locator("script").count() == 1
