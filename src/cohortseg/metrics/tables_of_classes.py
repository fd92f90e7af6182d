"""The data dictionary of the table about all classes at once."""

from cohortseg.metrics.columns import Column
from cohortseg.metrics.table_words import Table, count, text


def _share(definition: str) -> Column:
    return Column("fraction", definition, (0.0, 1.0), True, "Long 2015")


CLASS_TABLES: dict[str, Table] = {
    "classes": Table(
        "all classes at once, background included, over the voxels of all cases",
        {
            "experiment": text("name of the experiment"),
            "stage": text("raw: as predicted; post: after cleaning"),
            "split": text("val, test or unseen, as in metrics_by_case"),
            "n_cases": count("cases (times seeds) whose voxels are added up"),
            "voxel_accuracy": _share("voxels with the right class"),
            "mean_accuracy": _share("mean over the classes of the reference of their share that is found"),
            "mean_jaccard": _share("mean Jaccard index of the classes that are anywhere"),
            "weighted_jaccard": _share("Jaccard indices weighted by the voxels of their class in the reference"),
        },
    ),
}
