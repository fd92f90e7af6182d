"""The data dictionary of the tables about the cohort: flow, refused scans, acquisition, repairs, quality control."""

from cohortseg.metrics import heterogeneity
from cohortseg.metrics.table_words import Table, count, number, share, text

COHORT_TABLES: dict[str, Table] = {
    "cohort_flow": Table(
        "what became of all scans",
        {
            "stage": text("where"),
            "status": text("ok, rejected or unlabelled"),
            "reason": text("reason code"),
            "meaning": text("the reason in words"),
            "n": count("scans"),
        },
    ),
    "rejected": Table(
        "every refused scan",
        {
            "case": text("scan"),
            "stage": text("where it was refused"),
            "reason": text("reason code"),
            "meaning": text("the reason in words"),
            "found": text("what was found"),
        },
    ),
    "heterogeneity": Table(
        "acquisition of every series that is (a channel of) a case",
        {
            name: text(f"{name}, from the DICOM header; empty when unknown")
            for name in (*heterogeneity.COLUMNS, "outlier")
        },
    ),
    "heterogeneity_summary": Table(
        "each property of the acquisition summed up",
        {
            "modality": text("modality"),
            "channel": text("channel of the case"),
            "property": text("property of the acquisition"),
            "n": count("series"),
            "n_known": count("series that tell the property"),
            "n_values": count("different values"),
            "most_common": text("the most common value"),
            "share": share("share of the series with it"),
            "min": number("unit of the property", "lowest value"),
            "median": number("unit of the property", "median"),
            "max": number("unit of the property", "highest value"),
            "n_outliers": count("series that differ from the others"),
        },
    ),
    "repairs": Table(
        "what was mended or borne when cases were converted",
        {"case": text("image"), "what": text("what"), "count": count("slices, or times")},
    ),
    "quality": Table(
        "every prediction by how much it calls for a look, without any reference",
        {
            "rank": count("place in the list, 1 is the most striking"),
            "experiment": text("name of the experiment"),
            "model": text("which of its models predicted"),
            "case": text("image"),
            "subject": text("pseudonym of the person"),
            "is_scored": text("whether the case has a reference"),
            "score": number("", "sum of what was found, 0 for nothing"),
            "agreement": share("mean Dice between the labels of the models that predicted the case"),
            "empty": text("classes of which nothing was predicted, separated by semicolons"),
            "findings": text("what was found, the weightiest first"),
        },
    ),
}
"""Every table of `tables/` that holds no result, by name."""
