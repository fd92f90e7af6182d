"""The report as one HTML file: complete in itself, without network, everything from outside escaped."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from markupsafe import Markup

from cohortseg.report import (
    background,
    curves,
    further,
    gallery,
    glance,
    heterogeneity,
    images,
    methods_text,
    quality,
    resources,
    results,
    subgroups,
    tuning,
)
from cohortseg.report.assets import fill
from cohortseg.report.content import (
    HISTORY_COLUMNS,
    ROW_COLUMNS,
    SUMMARY_COLUMNS,
    Overlay,
    ReportContent,
    last_stage,
    of_split,
    splits_in,
    with_columns,
)
from cohortseg.report.figures import CURVE_TITLES, Curve, agreement_plot, size_plot, strip_plot, training_curves
from cohortseg.report.flow import Flow, flow_diagram
from cohortseg.report.methods_of_images import PARTS_OF_IMAGES
from cohortseg.report.numbers import metric_look
from cohortseg.report.plan_table import plan_table
from cohortseg.report.style import Series, series
from cohortseg.report.svg import inline_svg
from cohortseg.report.table import Table

__all__ = ["Overlay", "ReportContent", "render"]

MOST_LABELS = 8
"""Labels with tables and figures of their own; further ones stand in the overview."""

CURVES: tuple[Curve, ...] = ("loss", "dice", "learning_rate")

SECTIONS: dict[str, str] = {
    "flow": "Cohort flow",
    "results": "Results",
    "comparison": "Comparison",
    "subgroups": "Subgroups",
    "cases": "Cases",
    "further": "Further analyses",
    "quality": "Quality control",
    "heterogeneity": "Heterogeneity",
    "tuning": "Search of settings",
    "training": "Training",
    "rejected": "Rejected scans",
    "plan": "Plan",
    "resources": "Resources",
    "methods": "Methods text",
    "settings": "Settings, versions, digests",
    "dictionary": "Data dictionary",
    "files": "Files",
}
"""Anchor: heading, in the order of the page."""

OPTIONAL = ("further", "quality", "tuning", "methods", "files")
"""Sections that are left out where there is nothing for them; all others then say so."""


@dataclass(frozen=True)
class Figure:
    """A figure of the page with its caption."""

    svg: Markup
    caption: str
    has_legend: bool = False


@dataclass(frozen=True)
class SubgroupPart:
    """All about one property of the cases."""

    title: str
    figures: tuple[Figure, ...]
    gaps: tuple[str, ...]
    table: Table


@dataclass(frozen=True)
class LabelPart:
    """All about one label."""

    label: str
    table: Table
    details: Table
    undefined: str
    figures: tuple[Figure, ...]


def render(content: ReportContent) -> str:
    """The whole page; the same content gives the same text.

    Parameters
    ----------
    content : ReportContent
        Any part may be empty: its section then says so in a sentence.

    Returns
    -------
    str
        HTML for a file that opens from a disk without network. A policy inside it forbids every request, and every
        script but its own (tables that can be sorted).
    """
    flow = flow_diagram(content.flow)
    annex = _annex(content, flow)
    return fill(
        "page.html",
        content=content,
        sections={name: title for name, title in SECTIONS.items() if name not in OPTIONAL or annex[name]},
        backgrounds=gallery.backgrounds(content.views),
        **_overview(content, flow),
        **_results(content),
        **_background(content),
        **annex,
    )


def _overview(content: ReportContent, flow: Flow) -> dict[str, object]:
    """Header and cohort flow."""
    leaders = glance.best(content.summary, content.primary_metric)
    made = None if content.images is None else replace(content.images, confidence=content.confidence)
    return {
        "flow": flow,
        "tiles": glance.tiles(content if made is None else replace(content, rows=made.rows), flow, leaders),
        "verdicts": glance.verdicts(content, leaders) if made is None else images.verdicts(made),
        "images": None if made is None else images.parts(made),
        "warnings": [*glance.empty_handed(content), *content.warnings],
        "typical": glance.typical(content, leaders),
        "primary": metric_look(content.primary_metric),
    }


def _results(content: ReportContent) -> dict[str, object]:
    """Results, comparison, subgroups and cases."""
    summary = with_columns(content.summary, SUMMARY_COLUMNS)
    same = results.same_when_cleaned(summary)
    summary = results.merge_stages(summary, same)
    labels = [str(label) for label in summary["label"].dropna().unique()]
    comparison, other_comparisons = results.comparison_tables(content)
    return {
        "labels": labels,
        "overview": results.overview_table(content, summary) if len(labels) > 1 else None,
        "label_parts": list(_label_parts(content, summary, same, labels[:MOST_LABELS])),
        "split_sentence": background.split_sentence(content),
        "experiments": _experiments(content),
        "is_merged": bool(same),
        "comparison": comparison,
        "other_comparisons": other_comparisons,
        "subgroups": [_subgroup(k, part, content.confidence) for k, part in enumerate(subgroups.subgroups(content))],
        "walls": gallery.walls(content.overlays, content.views),
        "outlines": gallery.legend(content.overlays),
        "window": gallery.window_sentence(content.window_hu),
    }


def _label_parts(
    content: ReportContent, summary: pd.DataFrame, same: frozenset[tuple[str, str]], labels: Sequence[str]
) -> Iterator[LabelPart]:
    rows = with_columns(content.rows, [*ROW_COLUMNS, content.primary_metric])
    merged = results.merge_stages(rows, same)
    for position, label in enumerate(labels):
        yield LabelPart(
            label,
            results.label_table(content, summary, label),
            results.detail_table(content, summary, label),
            background.undefined_sentence(content, label),
            tuple(_label_figures(content, merged, rows, label, position)),
        )


def _label_figures(
    content: ReportContent, merged: pd.DataFrame, rows: pd.DataFrame, label: str, position: int
) -> Iterator[Figure]:
    """Strip plot and size plot of one label for each split; none without rows."""
    for place, split in enumerate(splits_in(rows)):
        words = f" ({results.split_words(split)})" if len(splits_in(rows)) > 1 else ""
        here, here_merged = of_split(rows, split), of_split(merged, split)
        prefix = f"{position}" if place == 0 else f"{position}{split}"
        yield from _split_figures(content, here_merged, here, label, (prefix, words))


def _split_figures(
    content: ReportContent, merged: pd.DataFrame, rows: pd.DataFrame, label: str, marks: tuple[str, str]
) -> Iterator[Figure]:
    """As `_label_figures`, of one split; `marks` end the ids and the captions."""
    metric, (prefix, words) = content.primary_metric, marks
    title, unit = metric_look(metric).title, glance.unit_of(content, metric)
    axis = f"{title} ({unit})" if unit else title
    here = rows[rows["label"] == label]
    if here.empty:
        return
    strip = strip_plot(merged, metric, label=label, axis_title=axis)
    yield Figure(
        inline_svg(
            strip,
            name=f"Strip plot{words}: {title} of each case for {label}, by experiment and stage. Numbers: table above.",
            prefix=f"strip{prefix}",
        ),
        f"{title} of each case{words}. Box: quartiles and median; whiskers: 1.5 interquartile ranges. Hollow: raw; "
        "filled: post-processed.",
    )
    if (here["reference_ml"].astype(float) > 0).any():
        stage = results.stage_words(last_stage(rows["stage"]))
        size = size_plot(rows, label=label, metric=metric, axis_title=axis)
        name = f"Scatter plot{words}: {title} against the reference volume for {label}."
        caption = f"{title} against the volume of the reference ({stage}){words}."
        yield Figure(inline_svg(size, name=name, prefix=f"size{prefix}"), caption, has_legend=True)
        name = f"Bland-Altman plot{words}: predicted less reference volume against their mean for {label}."
        caption = (
            f"Agreement of volumes ({stage}){words}: difference against the mean of both; line: mean difference, "
            "dashed: ± 1.96 standard deviations."
        )
        agreement = agreement_plot(rows, label=label)
        yield Figure(inline_svg(agreement, name=name, prefix=f"agreement{prefix}"), caption, has_legend=True)


def _subgroup(position: int, part: subgroups.Subgroup, confidence: str) -> SubgroupPart:
    """One property with its forest plots put into the page."""
    figures = tuple(
        Figure(
            inline_svg(svg, name=f"Forest plot: {title}. Numbers: table below.", prefix=f"forest{position}-{k}"),
            f"{title}. Mean and {confidence} interval of each group; dashed: mean of all cases; pale: fewer than "
            f"{subgroups.FEW_CASES} cases.",
            has_legend=True,
        )
        for k, (title, svg) in enumerate(part.plots)
    )
    return SubgroupPart(part.title, figures, part.gaps, part.table)


def _annex(content: ReportContent, flow: Flow) -> dict[str, object]:
    """The optional sections: further analyses, cases to look at, methods text, files."""
    rows = with_columns(content.rows, ROW_COLUMNS)
    facts = methods_text.Facts(
        settings=content.study_settings,
        plan=content.plan,
        flow=flow,
        n_cases=int(rows["case"].nunique()),
        n_subjects=int(rows["subject"].nunique()),
        n_parameters=content.n_parameters,
        sources=content.method_sources,
        versions=content.versions,
    )
    shown = [
        Figure(
            inline_svg(
                svg,
                name=f"Curve: {title}. Numbers: tables/curves.csv, calibration.csv and froc.csv.",
                prefix=f"curve{k}",
            ),
            title,
        )
        for k, (title, svg) in enumerate(curves.curves(content))
    ]
    analyses = further.further(content)
    return {
        "further": bool(analyses or shown),
        "analyses": analyses,
        "study_curves": shown,
        **_tuning(content),
        "quality": quality.quality_sentence(content),
        "empty_sentences": quality.empty_sentences(content),
        "quality_table": quality.quality_table(content),
        "methods": methods_text.methods_text(facts, None if content.images is None else PARTS_OF_IMAGES),
        "files": sorted(content.files.items()),
    }


def _tuning(content: ReportContent) -> dict[str, object]:
    """The searches of settings, each with its figures put into the page."""
    shown = []
    for position, each in enumerate(tuning.searches(content)):
        name = f"Search of {each.experiment}. Numbers: tables below. "
        figures = [
            Figure(inline_svg(svg, name=f"{name}{title}.", prefix=f"search{position}-{k}"), title)
            for k, (title, svg) in enumerate(each.plots)
        ]
        shown.append((each, figures))
    return {"tuning": bool(shown), "searches": shown}


def _experiments(content: ReportContent) -> list[tuple[str, Series]]:
    """Experiments with the looks they have in the size plots."""
    rows = with_columns(content.rows, ROW_COLUMNS)
    return [(str(name), series(k)) for k, name in enumerate(sorted(rows["experiment"].dropna().unique()))]


def _background(content: ReportContent) -> dict[str, object]:
    """Heterogeneity, training, rejected cases, plan, resources, settings, definitions."""
    return {
        "properties": heterogeneity.property_tables(content),
        "alike": heterogeneity.alike_sentence(content),
        "outliers": heterogeneity.outlier_table(content),
        "repairs": heterogeneity.repair_table(content),
        "models": background.models(content),
        "training": background.training_table(content),
        "training_curves": list(_curves(content)),
        "rejections": background.rejections(content),
        "plan": plan_table(content.plan),
        "resources": resources.resource_table(content),
        "estimates": further.asked_and_used(content),
        "totals": resources.totals(content),
        "dictionary": background.dictionary_table(content),
        "versions": sorted(content.versions.items(), key=lambda item: item[0].casefold()),
    }


def _curves(content: ReportContent) -> Iterator[Figure]:
    """The training curves in which a model has at least two points: one point is a number, for the table."""
    captions = {
        "loss": "Loss in training (solid) and validation (dashed).",
        "dice": "Dice in validation.",
        "learning_rate": "Learning rate.",
    }
    for curve in CURVES:
        tables = [with_columns(history, HISTORY_COLUMNS) for history in content.histories.values()]
        if any(table[curve].notna().sum() > 1 for table in tables):
            svg = training_curves(content.histories, curve=curve)
            name = f"Training curve: {CURVE_TITLES[curve]} over the steps. Numbers: table below."
            yield Figure(inline_svg(svg, name=name, prefix=f"curve-{curve}"), captions[curve])
