"""What people report as misread: each case is read as its right picture, or refused in the sentence that is true."""

import cases
import numpy as np
import pytest
from uploads import check, refusal

from covid_cnn.images.reader import read

EVERY = list(cases.every_case())


@pytest.mark.parametrize("case", EVERY, ids=[case.name for case in EVERY])
def test_a_case_is_read_right_or_refused(case):
    if case.right is None:
        assert case.words in refusal(case.data, case.name)
        return
    radiograph = check(read(case.data, case.name))
    np.testing.assert_allclose(radiograph.pixels, case.right, atol=case.close)
    if case.words:
        assert any(case.words in warning for warning in radiograph.warnings)
    else:
        assert radiograph.warnings == () or "very small" in radiograph.warnings[0]


def test_no_two_cases_have_one_name():
    assert len({case.name for case in EVERY}) == len(EVERY)
