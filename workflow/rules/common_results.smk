"""What the study is asked for: tables, report, exports."""

from cohortseg.io.sidecar import digest


def more_tables():
    """Further tables of results."""
    names = "ranks variance agreement gaps interactions covariates lesions classes instances calibration curves"
    names += " stability stability_summary froc detection detections operating_points"
    names += " panoptic panoptic_by_case types types_by_case region_features"
    names += " choices candidates trials data_dictionary"
    names += " images images_summary images_comparison" if STUDY.synthesis else ""
    return [str(LAYOUT.table(name)) for name in names.split()]


def clinical():
    """The clinical table of the study, where there is one: its groups are made again when it changes."""
    return [str(LAYOUT.clinical)] if STUDY.cohort.clinical is not None else []


def results_of_study():
    """What `all` asks for."""
    exported = experiment_tokens("export") if STUDY.export.formats else []
    return [str(LAYOUT.report), *exported]


def cohort_digest():
    """The digest of the cohort's tables: a case that came or went shows in the tables of results."""
    return digest(
        [
            text_of(path)
            for path in (LAYOUT.cases_table, LAYOUT.rejected_table, LAYOUT.series_table)
        ]
    )


def shown_settings():
    """The digest of the settings that the report prints."""
    return digest(text_of(LAYOUT.settings))
