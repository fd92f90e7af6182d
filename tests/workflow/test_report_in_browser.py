"""The report of a study that the workflow made, in a real browser."""

import pytest
from browser import WIDTHS, chromium, opened
from tiny_study import SECRETS, study_of

pytestmark = pytest.mark.workflow


@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_quiet_fits_the_window_and_names_nobody(finished, width):
    path = study_of(finished[0]) / "report" / "report.html"
    with chromium() as browser, opened(browser, path, width=width) as here:
        assert here.complaints == []
        assert here.overflow_px() <= 0
        assert here.serious_faults() == []
        assert here.page.locator(".plane input").count() > 0
        text = here.page.locator("body").inner_text().lower()
        assert [secret for secret in SECRETS if secret in text] == []
