"""A planted letter is learned, fails at another hospital, and turns answers when it is stamped on."""

import pytest

from covid_cnn.data import planted
from covid_cnn.data.planted import Hospital, ThumbnailClassifier


@pytest.fixture(scope="module")
def hospitals() -> tuple[Hospital, Hospital, Hospital]:
    """To learn from, to test with, and one where the letter stands on the healthy."""
    return (
        planted.draw_hospital(1, 20, lambda ill: ill, size=96),
        planted.draw_hospital(2, 12, lambda ill: ill, size=96),
        planted.draw_hospital(2, 12, lambda ill: not ill, size=96),
    )


def test_the_letter_makes_a_perfect_score_at_home_and_a_bad_one_away(hospitals):
    learned, tested, other = hospitals
    classifier = ThumbnailClassifier(learned)
    at_home, away = (((classifier.predict(h.images) >= 0.5) == h.ill).mean() for h in (tested, other))
    assert at_home == 1
    assert away < 0.5


def test_stamps_turn_answers(hospitals):
    learned, tested, _ = hospitals
    classifier = ThumbnailClassifier(learned)
    healthy = list(tested.images[~tested.ill][:3])
    found = list(planted.stamp_everywhere(lambda image: float(classifier.predict(image[None])[0]), healthy))
    assert {i for i, *_ in found} == {0, 1, 2}
    assert {text for _, _, text, *_ in found} == {"R", "L"}
    assert len(found) == 3 * 2 * len(planted.SIZES) * len(planted.PLACES)
    for i, stamped, _, before, after in found:
        assert before == pytest.approx(classifier.predict(healthy[i][None])[0])
        assert after == pytest.approx(classifier.predict(stamped[None])[0])
    assert any(before < 0.5 <= after for *_, before, after in found)


def test_what_a_hospital_drew_is_written_as_a_dataset(hospitals, tmp_path):
    learned, tested, _ = hospitals
    dataset = planted.write_hospitals(tmp_path / "set", {"train": learned, "test": tested})
    assert dataset.synthetic and dataset.classes == ("healthy", "ill") and dataset.splits == ("train", "test")
    assert dataset.counts == {"train": {"healthy": 10, "ill": 10}, "test": {"healthy": 6, "ill": 6}}
    assert len({item.patient for item in dataset.items}) == 32
