"""The page: complete in itself, safe, readable by machines that read aloud, and calm about what is missing."""

import json
import re
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import pandas as pd
import pytest
from report_content import EVIL, empty_content, full_content, metric_rows, overlays, summary_of, views

from cohortseg.report.content import Overlay
from cohortseg.report.page import SECTIONS, render

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Elements of a page as (tag, attributes, tags above), its texts, and whether every tag is closed in order."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self.open, self.problems = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.open)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag):
        return [attributes for name, attributes, _ in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(text.split()) for tag, text in self.texts if tag not in ("style", "script"))


@pytest.fixture(scope="module")
def html():
    return render(full_content())


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_tags_are_closed_and_ids_are_unique(page):
    assert page.problems == []
    assert page.open == []
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert [name for name, n in Counter(ids).items() if n > 1] == []


def test_the_page_has_landmarks_headings_and_working_anchors(page):
    assert [len(page.all(tag)) for tag in ("main", "nav", "h1", "header", "footer")] == [1, 1, 1, 1, 1]
    assert page.all("html")[0]["lang"] == "en"
    ids = {attributes["id"] for _, attributes, _ in page.elements if "id" in attributes}
    anchors = {attributes["href"][1:] for attributes in page.all("a") if attributes["href"].startswith("#")}
    assert anchors <= ids
    assert set(SECTIONS) <= anchors
    assert all(attributes["aria-labelledby"] in ids for attributes in page.all("section"))


def test_tables_have_captions_and_scoped_headings(page):
    assert len(page.all("table")) == len(page.all("caption")) > 8
    assert {attributes.get("scope") for attributes in page.all("th")} == {"col", "row"}


def test_every_picture_has_words(page):
    assert all(attributes.get("alt") for attributes in page.all("img"))
    windows = [a for a in page.all("div") if a.get("class", "").startswith("window ")]
    assert len(windows) == 18
    assert all(a["role"] == "img" and a["aria-label"] for a in windows)
    sliders = [a for a in page.all("input") if a["type"] == "range"]
    assert len(sliders) == 18
    assert {a["aria-valuetext"] for a in sliders} == {"slice 13 of 40"}
    figures = [a for tag, a, above in page.elements if tag == "svg" and above and above[-1] == "figure"]
    assert len(figures) == 10
    assert all(a["role"] == "img" and a["aria-label"] for a in figures)
    rest = [a for tag, a, above in page.elements if tag == "svg" and above[-1] != "figure"]
    assert all(a["aria-hidden"] == "true" for a in rest)


def test_nothing_is_loaded_from_anywhere(html, page):
    addresses = [
        value
        for _, attributes, _ in page.elements
        for key, value in attributes.items()
        if key in ("src", "href", "xlink:href", "srcset", "action", "data")
    ]
    links = [address for address in addresses if not address.startswith(("#", "data:"))]
    assert links == ["../tables/summary.csv"]  # a file beside the report, followed only when somebody clicks
    outside = set(re.findall(r"(?:https?:)?//[a-z0-9][a-z0-9.]*", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)))
    assert outside <= {"http://www.w3.org"}
    assert "@import" not in html


def test_the_policy_allows_the_one_script_of_the_page_and_no_other(html, page):
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert re.findall(r"script-src ([^;]*)", policy) == [f"'sha256-{digest}'"]
    assert not any(key.startswith("on") for _, attributes, _ in page.elements for key in attributes)


def test_the_first_glance_says_who_won_and_on_how_many(page):
    assert re.search(r"unet2d beats threshold: Dice median 0\.\d\d vs 0\.\d\d \(n=14 pairs, p < 0\.001", page.text)


def test_the_same_content_gives_the_same_page(html):
    assert render(full_content()) == html
    assert "2026" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    assert "3 May 2031" in render(full_content(generated="3 May 2031"))


def test_intervals_are_named_by_the_confidence_of_the_settings(html):
    content = full_content()
    usual, wide = re.compile(r"\b95 % (CI|interval|percentile)"), re.compile(r"\b90 % (CI|interval|percentile)")
    named = {**content.study_settings, "statistics": {**content.study_settings["statistics"], "confidence": 0.9}}
    page = render(replace(content, study_settings=named))
    assert not wide.search(html)
    assert set(usual.findall(html)) == {"CI", "interval", "percentile"}
    assert not usual.search(page)
    assert len(wide.findall(page)) == len(usual.findall(html))


def test_the_page_stays_small(html):
    assert len(html) < 4_000_000


def evil_settings(hostile):
    """Settings whose every text is hostile."""

    def spoiled(value):
        if isinstance(value, dict):
            return {key: value[key] if key == "method" else spoiled(value[key]) for key in value}
        if isinstance(value, list):
            return [spoiled(item) for item in value]
        return hostile if isinstance(value, str) else value

    settings = spoiled(full_content().study_settings)
    settings["experiments"] = {
        hostile: settings["experiments"]["threshold"],
        f"2{hostile}": settings["experiments"]["unet2d"],
    }
    settings["experiments"]["other"] = {"method": hostile, "value": hostile}
    return settings


def evil_trials(hostile):
    """Trials whose every name and text is hostile."""
    settings = json.dumps({hostile: hostile})
    texts = {"experiment": hostile, "fold": hostile, "status": hostile, "metric": hostile, "reason": hostile}
    return pd.DataFrame([{**texts, "settings": settings, "trial": 0, "score": 0.5, "is_chosen": "yes", "n_cases": 1}])


def evil_content(text=EVIL):
    """A study whose every name and text is hostile."""
    return _spoiled(text)


def long_content():
    """A study with names of 10 kB."""
    return _spoiled("n" * 10_000)


def _spoiled(hostile):
    names = {"threshold": hostile, "tumour": hostile, "sts-004": hostile, "sts-099": hostile, "convert": hostile}
    full = full_content()
    tables = ("flow", "rejected", "rows", "summary", "comparison", "subgroups", "resources")
    strip = overlays()[0].predictions[0]
    plane = views()["sts-002"][0]
    return full_content(
        study=hostile,
        generated=hostile,
        **{name: getattr(full, name).replace(names) for name in tables},
        histories={hostile: full.histories["unet2d/fold-0-seed-1"]},
        overlays=[Overlay(hostile, hostile, (hostile,), "worst", hostile, 0.5, (strip,), hostile)],
        views={hostile: [plane]},
        thumbnails={hostile: plane.image},
        plan={hostile: {"value": {hostile: [hostile]}, "because": hostile}},
        settings_text=hostile,
        versions={hostile: hostile},
        warnings=[hostile],
        metric_info={hostile: (hostile, hostile)},
        quality=full.quality.replace({"sts-031": hostile, "unet2d": hostile}).assign(findings=hostile),
        tables={"ranks": pd.DataFrame({hostile: [hostile], "rank": [1]}), "trials": evil_trials(hostile)},
        dictionary=pd.DataFrame({"table": ["ranks"], "column": [hostile], "unit": [hostile], "definition": [hostile]}),
        study_settings=evil_settings(hostile),
        n_parameters={hostile: 3},
        method_sources={"threshold": (hostile, hostile)},
        digests={hostile: hostile},
        files={f"../tables/{hostile}": hostile},
    )


def test_names_and_settings_cannot_inject_anything(page):
    html = render(evil_content())
    hostile = Page(html)
    assert hostile.problems == []
    assert len(hostile.all("script")) == 1
    assert "<script>alert" not in html
    assert {tag for tag, _, _ in hostile.elements} <= {tag for tag, _, _ in page.elements} | {"image"}
    assert not any(key.startswith("on") for _, attributes, _ in hostile.elements for key in attributes)
    assert hostile.text.count("alert(1)") > 20
    assert "49" not in hostile.text.replace("0.49", "")


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "javascript:alert(1)", "]]></svg><script>alert(1)</script>", "\u202eabc"]
)
def test_formulas_addresses_and_marks_are_shown_as_they_are(text):
    html = render(evil_content(text))
    hostile = Page(html)
    assert hostile.problems == []
    assert len(hostile.all("script")) == 1
    assert {a["href"] for a in hostile.all("a")} <= {f"#{name}" for name in SECTIONS} | {"#main", f"../tables/{text}"}
    assert text in hostile.text


def test_names_of_10_kilobytes_keep_the_page_bounded():
    html = render(long_content())
    assert Page(html).problems == []
    assert len(html) < 5_000_000


def test_a_training_that_was_looked_at_once_has_numbers_and_no_curve():
    once = {name: history.tail(1) for name, history in full_content().histories.items()}
    html = render(full_content(histories=once))
    assert "Training curve" not in html
    assert "Each model was validated once" in html
    assert "Training of each model" in html


def test_a_study_of_nothing_says_so():
    html = render(empty_content())
    text = Page(html).text
    for sentence in (
        "No scan has been found yet.",
        "No case has been evaluated, so there are no results.",
        "There is no comparison.",
        "There are no pictures of cases.",
        "No experiment of this study is trained.",
        "No scan was rejected.",
        "There is no plan.",
        "Time and memory were not recorded.",
    ):
        assert sentence in text
    assert Page(html).problems == []
    assert len(html) < 40_000


def test_scans_without_any_evaluation_still_show_their_flow():
    nothing = pd.DataFrame()
    content = full_content(rows=nothing, summary=nothing, comparison=nothing, subgroups=nothing, overlays=())
    text = Page(render(content)).text
    assert "No case has been evaluated" in text
    assert "MISSING_SLICE" in text


def test_one_experiment_has_nothing_to_be_compared_with():
    rows = metric_rows(levels={"threshold": 0.5})
    content = full_content(rows=rows, summary=summary_of(rows), comparison=pd.DataFrame(), histories={}, rejected=None)
    text = Page(render(content)).text
    assert "There is one experiment only" in text
    assert "No experiment of this study is trained." in text
    assert "beats" not in text


def test_results_that_are_all_undefined_are_counted_not_hidden():
    rows = metric_rows(n_cases=3)
    measured = ["dice", "nsd", "hd95_mm", "assd_mm", "sensitivity", "precision"]
    rows = rows.assign(**dict.fromkeys(measured, float("nan")), undefined="both_empty")
    content = full_content(rows=rows, summary=summary_of(rows), comparison=pd.DataFrame(), subgroups=pd.DataFrame())
    text = Page(render(content)).text
    assert "Some metrics are undefined in 6 of 6 results: reference and prediction empty (6)." in text
    assert "n=0, 3 undefined" in text


def test_many_labels_get_an_overview_and_a_bounded_page():
    labels = tuple(f"organ-{n:02d}" for n in range(11))
    rows = metric_rows(labels, n_cases=4)
    html = render(full_content(rows=rows, summary=summary_of(rows), comparison=pd.DataFrame(), overlays=()))
    text = Page(html).text
    assert "The other 3 labels stand in the overview above" in text
    assert "organ-10" in text
    assert "All metrics of organ-07" in text
    assert "All metrics of organ-08" not in text
    assert Page(html).problems == []
