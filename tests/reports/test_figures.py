import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from covid_cnn.common import statistics
from covid_cnn.common.statistics import wilson
from covid_cnn.evaluation import calibration
from covid_cnn.evaluation.cohorts import Shares
from covid_cnn.images import ops
from covid_cnn.reports import figures
from covid_cnn.runs.events import Epoch


def rendered(figure) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")


@pytest.mark.parametrize("colour_map", ops.COLOUR_MAPS)
def test_the_overlay_colours_the_hot_and_keeps_the_cold(colour_map):
    pixels = np.full((40, 60), 0.5, np.float32)
    heatmap = np.zeros((4, 6))
    heatmap[0, 0] = 1
    picture = ops.overlay(pixels, heatmap, 0.8, colour_map)
    assert picture.shape == (40, 60, 3) and picture.dtype == np.uint8
    assert np.ptp(picture[2, 2].astype(int)) > 40  # coloured
    assert np.isin(picture[30:, 40:], (127, 128)).all()  # grey as before


def test_an_overlay_without_heat_or_opacity_is_the_x_ray():
    pixels = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    grey = np.rint(255 * pixels)[..., None].repeat(3, axis=2)
    assert np.array_equal(ops.overlay(pixels, np.zeros((7, 7))), grey)
    assert np.array_equal(ops.overlay(pixels, np.ones((7, 7)), opacity=0), grey)


def test_more_opacity_hides_more():
    pixels, heatmap = np.zeros((8, 8), np.float32), np.ones((2, 2))
    faint, strong = (ops.overlay(pixels, heatmap, opacity).sum() for opacity in (0.2, 0.9))
    assert strong > 3 * faint > 0


def test_the_default_colour_map_is_no_rainbow():
    assert list(ops.COLOUR_MAPS)[-1] == "Jet" and ops.DEFAULT_COLOUR_MAP != "Jet"


def test_upsampling_keeps_place_and_range():
    heatmap = np.zeros((7, 5))
    heatmap[1, 3] = 1
    large = ops.upsample(heatmap, (140, 200))
    assert large.shape == (140, 200) and large.dtype == np.float32
    assert large.min() >= 0 and large.max() <= 1
    row, column = np.unravel_index(large.argmax(), large.shape)
    assert abs(row - 30) <= 2 and abs(column - 140) <= 3
    assert len(np.unique(large.round(3))) > 50  # smooth, not blocks


def test_fitting_keeps_proportions_and_never_enlarges():
    assert ops.fit_within(np.zeros((1000, 2000), np.float32), 500).shape == (250, 500)
    assert ops.fit_within(np.zeros((3, 4000), np.float32), 500).shape == (1, 500)
    small = np.random.default_rng(0).random((20, 30), np.float32)
    assert ops.fit_within(small, 30) is small
    stripes = np.tile(np.array([0, 1], np.float32), (100, 50))
    shrunk = ops.fit_within(stripes, 25)
    assert shrunk.min() >= 0 and shrunk.max() <= 1 and shrunk.mean() == pytest.approx(0.5, abs=0.02)


def test_loss_curves_show_training_and_validation():
    told = {"time": 0, "accuracy": 1, "val_accuracy": 1}
    epochs = [Epoch(epoch=i, step=i, loss=1 / i, val_loss=2 / i, **told) for i in (1, 2, 3)]
    figure = figures.draw_loss_curves(epochs)
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert lines == {"training": [[1, 1], [2, 1 / 2], [3, 1 / 3]], "validation": [[1, 2], [2, 1], [3, 2 / 3]]}
    assert figure.axes[0].get_ylabel() == "Loss"
    rendered(figure)


def test_loss_curves_of_a_run_that_has_just_begun():
    rendered(figures.draw_loss_curves([]))


def test_the_confusion_matrix_shows_counts_and_shares_of_rows():
    figure = figures.draw_confusion_matrix([[18, 2], [5, 15]], ["NORMAL", "PNEUMONIA"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["18\n90 %", "2\n10 %", "5\n25 %", "15\n75 %"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["NORMAL", "PNEUMONIA"]
    assert rendered(figure).getpixel((0, 0)) == (255, 255, 255)


def test_the_confusion_matrix_bears_empty_classes_and_dollar_signs():
    figure = figures.draw_confusion_matrix([[3, 0], [0, 0]], [r"$\frac", "Viral pneumonia other than COVID-19"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["3\n100 %", "0\n0 %", "0", "0"]
    rendered(figure)


@pytest.mark.parametrize("classes", [["A", "B"], ["A", "COVID-19", "Viral pneumonia other"]])
def test_the_labels_of_the_confusion_matrix_stay_within_the_figure(classes):
    figure = figures.draw_confusion_matrix(np.eye(len(classes), dtype=int), classes)
    rendered(figure)
    box = figure.get_tightbbox()  # in inches
    width, height = figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_the_reliability_diagram_shows_points_intervals_and_counts():
    labels, sure = np.array([0, 0, 1, 0, 1, 1]), np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    before = calibration.reliability(labels, np.stack([sure, 1 - sure], axis=1))
    after = calibration.reliability(labels, np.stack([1 - sure / 2, sure / 2], axis=1))
    figure = figures.draw_reliability(before, after)
    first, second, counts, more_counts = figure.axes
    assert [axes.get_title() for axes in (first, second)] == ["Before the temperature", "After the temperature"]
    measured = first.containers[0]
    assert measured.lines[0].get_xydata() == pytest.approx(np.array([[0.55, 0.0], [0.95, 0.75]]))
    (_, low), (_, high) = measured.lines[2][0].get_segments()[1]
    assert (low, high) == pytest.approx((statistics.wilson(3, 4).low, statistics.wilson(3, 4).high))
    assert [text.get_text() for text in counts.texts] == ["2", "4"]
    assert sum(int(text.get_text()) for text in more_counts.texts) == 6
    assert measured.lines[0].get_color() != second.containers[0].lines[0].get_color()
    assert rendered(figure).getpixel((0, 0)) == (255, 255, 255)


def test_importing_figures_and_report_does_not_load_matplotlib_or_scipy():
    code = "import sys; from covid_cnn.reports import figures, pdf; print({'matplotlib', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


@pytest.mark.parametrize("colour_map", ops.COLOUR_MAPS)
def test_the_colour_maps_are_matplotlibs(colour_map):
    theirs = matplotlib.colormaps[colour_map.lower()](np.arange(256))[:, :3]
    np.testing.assert_allclose(ops.COLOUR_MAPS[colour_map], 255 * theirs, atol=0.5)


def test_shares_stand_where_they_are_with_their_intervals_and_counts():
    lines = [
        Shares("home", 60, 50, {"ill": 20, "healthy": 30}, wilson(20, 20), wilson(36, 40)),
        Shares("away, $x$ of", 500, 500, {"ill": 0, "healthy": 500}, None, wilson(20, 500)),
    ]
    figure = figures.draw_shares(lines)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["home", "away, $x$ of"]
    sensitivity, specificity = (container.lines[0] for container in axes.containers)
    assert sensitivity.get_xdata().tolist() == [1.0]
    assert specificity.get_xdata().tolist() == [0.9, 0.04]
    ends = axes.containers[1].lines[2][0].get_segments()[1][:, 0]
    assert ends.tolist() == pytest.approx([wilson(20, 500).low, wilson(20, 500).high])
    assert {text.get_text() for text in axes.texts} == {"n = 20", "n = 40", "n = 500"}
    assert rendered(figure).size[0] > 400
