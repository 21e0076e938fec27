"""What is told of a network whose scale is tried on labelled images."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from covid_cnn.evaluation.own_network import Choice, Example, OwnNetwork, command, try_scales, verdict

CLASSES = ("NORMAL", "PNEUMONIA")


def network(tmp_path, answer) -> OwnNetwork:
    """A network of one sigmoid and of two outputs, which answers what a function makes of an image's mean."""
    facts = {"black": [0.0], "white": [1.0], "last": "sigmoid", "units": 1, "channels": 3, "size": [8, 8]}
    facts |= {"outputs": ["age", "finding"], "output": 1}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    made = OwnNetwork("my.keras", SimpleNamespace(name=str(tmp_path), cleanup=lambda: None))
    made.answer = lambda pixels, scale: np.float32([answer(pixels.mean(), scale)])
    return made


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            lambda grey, scale: float(grey > 0.5) if scale == "none" else 0.4,
            r"^With pixels as they are, 100 % of 40 .* loses right answers: 20 with pixels divided by 255",
        ),
        (
            lambda grey, scale: float(grey < 0.5),
            r"wrong order: called PNEUMONIA,NORMAL, with pixels divided by 255.*100 % of 40",
        ),
        (
            lambda grey, scale: 0.6,
            r"^No scale fits: at best 50 % of 40 images are right, no better than chance\. Either",
        ),
        (
            lambda grey, scale: 0.6 if scale != "caffe" else float(grey > 0.77),
            r"^No scale fits: at best 62 % of 40 images are right",
        ),
    ],
    ids=["one scale", "wrong order", "nothing learned", "nothing learned, and guessed another scale"],
)
def test_which_scale_fits_is_told(tmp_path, answer, sentence):
    greys = [0.2 + (0.5 + 0.03 * (n // 10)) * (n % 2) for n in range(40)]
    examples = [Example(str(n), CLASSES[n % 2], np.full((8, 8), grey, np.float32)) for n, grey in enumerate(greys)]
    trials = try_scales(network(tmp_path, answer), examples, CLASSES)
    assert re.search(sentence, verdict(trials, CLASSES))


def test_the_command_that_adds_it_again_names_its_output(tmp_path):
    told = command(network(tmp_path, None), Choice("mine", CLASSES, "255", ""))
    assert told.endswith("--scale 255 --size 8x8 --output finding")
