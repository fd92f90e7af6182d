"""The plan in words: every decision with its unit and its reason, and nothing left out."""

from report_content import PLAN

from cohortseg.report.plan_table import plan_table


def lines_of(plan):
    return [[cell.text for cell in row] for row in plan_table(plan).rows]


def test_decisions_have_words_units_and_few_digits():
    found = {line[0]: line[1:] for line in lines_of(PLAN)}
    assert found["Voxel size (z, y, x)"] == ["3.27 × 0.977 × 0.977 mm", PLAN["spacing_mm"]["because"]]
    assert found["Patch (z, y, x)"][0] == "16 × 192 × 224 voxels"
    assert found["Intensities"] == [
        "clipped at −160 and 240 HU, then reduced by the mean (−68.4 HU) and divided by the SD (107 HU)",
        "the settings give the window",
    ]
    assert found["Channels"][0] == "image (CT)"
    assert plan_table({}) is None


def test_a_plan_for_planes_says_so():
    plan = {"dims": 2, "spacing_mm": {"value": [None, 0.5, 0.4]}, "patch": {"value": [128, 96]}, "device": "gpu"}
    assert lines_of(plan) == [
        ["Voxel size (z, y, x)", "as it is × 0.5 × 0.4 mm", "–"],
        ["Patch (y, x)", "128 × 96 voxels", "–"],
        ["Patches", "planes (2D)", "–"],
        ["Made for", "a GPU", "–"],
    ]


def test_the_levels_of_the_network_are_told_in_a_few_lines():
    levels = [{"features": 16 * 2**k, "kernel": [3, 3, 3], "stride": [1 + (k > 0)] * 3} for k in range(3)]
    found = lines_of({"network": {"levels": levels, "alignment": [4, 4, 4], "because": "it fits"}})
    assert found == [
        ["Levels of the network", "3, with 16, 32, 64 features", "it fits"],
        ["Steps between levels", "2×2×2, 2×2×2 voxels", "–"],
        ["Kernels", "3×3×3", "–"],
        ["Sizes are multiples of", "4 × 4 × 4 voxels", "–"],
    ]


def test_what_the_plan_saw_is_told_as_ranges():
    ranges = {"extent along x (mm)": [130.859, 167.969], "median intensity": [-955.0, -32.0], "spacing (mm)": [1, 1]}
    seen = {"n_cases": 12, "n_with_foreground": 11, "cases": ["a"] * 12, "classes": [1], "ranges": ranges, "new": 2}
    assert [line[:2] for line in lines_of({"seen": seen})] == [
        ["Made from", "12 cases, 11 of them with labelled voxels"],
        ["Seen: extent along x", "131–168 mm"],
        ["Seen: median intensity", "−955 to −32"],
        ["Seen: spacing", "1 mm"],
        ["Seen: new", "2"],
    ]


def test_what_no_case_had_is_left_out():
    seen = {"n_cases": 2, "n_with_foreground": 0, "ranges": {"foreground volume (ml)": None, "slices": [3, 3]}}
    assert [line[:2] for line in lines_of({"seen": seen})][1:] == [["Seen: slices", "3"]]


def test_numbers_of_the_case_are_told_with_the_voxels_they_come_from():
    chosen = {"name": "zscore", "numbers": {}, "group": "nonzero", "because": "MR"}
    plan = {"normalisation": {"t1": chosen, "raw": {"name": "none", "numbers": {}, "group": None}}}
    assert lines_of(plan) == [
        ["Intensities of t1", "reduced by the mean and divided by the SD of voxels other than 0 of the case", "MR"],
        ["Intensities of raw", "as they are", "–"],
    ]


def test_what_nobody_knows_yet_is_listed_as_it_stands():
    plan = {"new_part": {"gap_mm": {"value": 0.976562, "because": "it fits"}, "levels": [[1, 2], [3, 4]]}, "far": True}
    assert lines_of(plan) == [
        ["New part: gap", "0.977 mm", "it fits"],
        ["New part: levels", "(1, 2), (3, 4)", "–"],
        ["Far", "true", "–"],
    ]


def test_the_share_of_the_usual_image_in_a_patch_and_the_low_resolution_have_their_reasons():
    low = {"share": 0.0312, "because": "less than a quarter", "patch": {"value": [32, 40, 40], "because": "it fits"}}
    lines = lines_of({"low_resolution": {**low, "spacing_mm": {"value": [6.0, 4.0, 4.0], "because": "a quarter"}}})
    found = {title: rest for title, *rest in lines}
    assert found["Share of the usual image in a patch"] == ["3.12 %", "less than a quarter"]
    assert found["Low resolution: voxel size (z, y, x)"] == ["6 × 4 × 4 mm", "a quarter"]
    assert found["Low resolution: patch (z, y, x)"] == ["32 × 40 × 40 voxels", "it fits"]
