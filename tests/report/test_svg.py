"""A figure inside the page: themed, named, and harmless to what stands around it."""

import re
from xml.etree import ElementTree

import pytest
from report_content import metric_rows

from cohortseg.report.figures import strip_plot
from cohortseg.report.style import PALETTE
from cohortseg.report.svg import inline_svg


@pytest.fixture(scope="module")
def svg():
    rows = metric_rows().replace({"threshold": "url(#x) #1f6fb4 id"})
    return strip_plot(rows, "dice", label="tumour")


def test_palette_colours_become_variables(svg):
    page = inline_svg(svg, name="a", prefix="p")
    styles = " ".join(re.findall(r'style="([^"]*)"', page))
    assert "var(--ink)" in styles
    assert "var(--series-1)" in styles
    assert not any(pair[0] in styles for pair in PALETTE.values())


def test_two_figures_share_no_id_and_every_reference_finds_its_target(svg):
    one, other = (inline_svg(svg, name="a", prefix=prefix) for prefix in ("p", "q"))
    ids = [set(re.findall(r'\bid="([^"]*)"', page)) for page in (one, other)]
    assert ids[0].isdisjoint(ids[1])
    references = set(re.findall(r'href="#([^"]*)"', one)) | set(re.findall(r"url\(#([^)]*)\)", one.split("<text")[0]))
    assert references
    assert references <= ids[0]


def test_names_in_the_figure_are_not_touched(svg):
    assert "url(#x) #1f6fb4 id" in strip_texts(inline_svg(svg, name="a", prefix="p"))


def strip_texts(page):
    return " ".join(text or "" for text in ElementTree.fromstring(page).itertext())


def test_the_figure_brings_no_style_that_reaches_the_page(svg):
    page = inline_svg(svg, name="a", prefix="p")
    assert "<style" not in page
    assert "<metadata" not in page
    assert "DejaVu" not in page


def test_a_screen_reader_gets_the_name_escaped(svg):
    page = inline_svg(svg, name='5 < 6 & "so"', prefix="p")
    root = ElementTree.fromstring(page)
    assert root.get("role") == "img"
    assert root.get("aria-label") == '5 < 6 & "so"'
    assert root.get("width") is None
