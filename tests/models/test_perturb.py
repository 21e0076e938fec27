"""Changes to an image: each against what it promises, and all of them on any image."""

import numpy as np
import pytest

from covid_cnn.common.errors import ImageError
from covid_cnn.data import synthetic
from covid_cnn.data.samples import SAMPLES
from covid_cnn.images import lungs as images_lungs
from covid_cnn.images import ops
from covid_cnn.models import perturb
from covid_cnn.models.perturb import CHANGES, Step


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return synthetic.draw_radiograph(2, opacities=True, size=192)


def make(name: str, pixels: np.ndarray, **settings: float) -> np.ndarray:
    """One change alone."""
    (changed,) = perturb.apply_steps(pixels, [Step(name, settings)])
    return changed


def extremes(name: str) -> list[dict[str, float]]:
    settings = CHANGES[name].settings
    low = {key: float(setting.low) for key, setting in settings.items()}
    high = {key: float(setting.high) for key, setting in settings.items()}
    return [CHANGES[name].defaults(), low, high]


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("size", [(192, 192), (160, 190)])
def test_every_change_gives_an_image_and_leaves_the_old_one(name, size, drawn):
    pixels = ops.prepare(drawn, size)[..., 0]
    before = pixels.copy()
    for settings in extremes(name):
        changed = make(name, pixels, **settings)
        assert changed.dtype == np.float32 and changed.ndim == 2
        assert changed.min() >= 0 and changed.max() <= 1
        assert name == "crop" or changed.shape == pixels.shape
        np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_changes_something_at_first(name, drawn):
    changed = make(name, drawn, **CHANGES[name].defaults())
    assert changed.shape != drawn.shape or np.abs(changed - drawn).max() > 0.1


@pytest.mark.parametrize("name", CHANGES)
def test_the_first_setting_lies_within_the_range(name):
    for setting in CHANGES[name].settings.values():
        assert setting.low <= setting.value <= setting.high


def test_mirroring_twice_changes_nothing(drawn):
    np.testing.assert_array_equal(perturb.mirror(perturb.mirror(drawn)), drawn)


def test_a_quarter_turn_clockwise(drawn):
    np.testing.assert_allclose(perturb.rotate(drawn, 90), np.rot90(drawn, -1), atol=1e-3)


def test_a_crop_is_the_middle(drawn):
    np.testing.assert_array_equal(perturb.crop(drawn, 0.25), drawn[48:144, 48:144])


def test_brightening_can_be_taken_back_and_keeps_black_and_white(drawn):
    np.testing.assert_allclose(perturb.brighten(perturb.brighten(drawn, 1), -1), drawn, atol=1e-3)
    assert perturb.brighten(drawn, 1).mean() > drawn.mean() > perturb.brighten(drawn, -1).mean()
    np.testing.assert_array_equal(perturb.brighten(np.float32([[0, 1]]), 1.5), [[0, 1]])


def test_blur_keeps_the_mean_and_loses_the_detail():
    noise = np.random.default_rng(0).random((100, 100), np.float32)
    blurred = perturb.blur(noise, 2)
    assert blurred.mean() == pytest.approx(noise.mean(), abs=0.02)
    assert blurred.std() < noise.std() / 4


def test_hiding_the_lungs_and_all_else_hides_everything(drawn):
    lungs = images_lungs.segment_both_lungs(drawn)
    hidden, kept = make("hide_lungs", drawn), make("keep_lungs", drawn)
    assert not hidden[lungs].any() and not kept[~lungs].any()
    np.testing.assert_array_equal(hidden + kept, drawn)


def test_lungs_that_are_hidden_are_not_found_elsewhere(drawn):
    *_, after = perturb.apply_steps(drawn, [Step("hide_lungs", {}), Step("keep_lungs", {})])
    assert not after.any()


@pytest.mark.parametrize("move", ["mirror", "rotate", "crop"])
def test_lungs_move_with_the_image(move, drawn):
    """Moved and then hidden is the same as hidden and then moved, but for the edge."""
    moving = Step(move, CHANGES[move].defaults())
    *_, late = perturb.apply_steps(drawn, [moving, Step("hide_lungs", {})])
    *_, early = perturb.apply_steps(drawn, [Step("hide_lungs", {}), moving])
    assert late.shape == early.shape and (late == 0).mean() > 0.2
    assert (np.abs(late - early) > 0.05).mean() < 0.02


def test_lungs_are_hidden_where_they_were_whatever_lies_over_them(drawn):
    covering = Step("cover", {"left": 0, "top": 0, "width": 1, "height": 0.5, "grey": 1.0})
    *_, after = perturb.apply_steps(drawn, [covering, Step("hide_lungs", {})])
    np.testing.assert_array_equal(after == 0, images_lungs.segment_both_lungs(drawn))


@pytest.mark.parametrize("name", ["hide_lungs", "keep_lungs"])
@pytest.mark.parametrize("what", ["blank", "noise", "leg", "turned"])
def test_without_two_lungs_there_is_nothing_to_hide(name, what):
    blank, noise = np.zeros((64, 64), np.float32), np.random.default_rng(0).random((64, 64), np.float32)
    pixels = {"blank": blank, "noise": noise}[what] if what not in SAMPLES else SAMPLES[what].read().pixels
    with pytest.raises(ImageError, match="No two lungs were found .* undo"):
        make(name, pixels)


def test_a_rectangle_covers_its_place_alone(drawn):
    covered = perturb.cover(drawn, left=0.25, top=0.5, width=0.125, height=0.25, grey=0.5)
    inside = np.zeros(drawn.shape, bool)
    inside[96:144, 48:72] = True
    assert (covered[inside] == 0.5).all()
    np.testing.assert_array_equal(covered[~inside], drawn[~inside])


def test_a_letter_is_white_and_where_it_was_asked_for():
    black = np.zeros((200, 300), np.float32)
    stamped = ops.stamp(black, left=0.5, top=0.25, size=0.3)
    rows, columns = np.nonzero(stamped)
    assert stamped.max() == 1
    assert 150 <= columns.min() < 165 and 50 <= rows.min() < 80
    assert 30 < np.ptp(rows) <= 60
    assert np.abs(ops.stamp(black, 0.5, 0.25, 0.3, "L") - stamped).max() == 1


def test_steps_lie_one_on_top_of_the_other(drawn):
    steps = [Step("mirror", {}), Step("crop", {"share": 0.25}), Step("stamp", CHANGES["stamp"].defaults())]
    after = list(perturb.apply_steps(drawn, steps))
    assert [image.shape for image in after] == [(192, 192), (96, 96), (96, 96)]
    np.testing.assert_array_equal(after[2], ops.stamp(drawn[48:144, 48:144][:, ::-1], 0.05, 0.05, 0.1))
    assert list(perturb.apply_steps(drawn, [])) == []
