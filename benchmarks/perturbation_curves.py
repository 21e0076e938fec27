"""Deletion and insertion curves (Petsiuk et al. 2018): how an answer moves while the hottest pixels change first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from covid_cnn.images import ops
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.faithfulness import Progress, predict_cases, rank_pixels

STEPS = 10  # of a curve
SEEDS = 5  # random orders
BLUR = 5 / 224  # of the side: what RISE blurs with


@dataclass(frozen=True)
class PerturbationCurve:
    """The probability of a class, float ``[S]``, while the shares ``[S]`` of the pixels, 0..1, were changed."""

    shares: np.ndarray
    probabilities: np.ndarray

    @property
    def area(self) -> float:
        """The area under the curve, 0..1, by the trapezoid rule."""
        return float(np.trapezoid(self.probabilities, self.shares))


@dataclass(frozen=True)
class Trial:
    """An order of pixels, tested: its deletion curve (good when low) and its insertion curve (good when high)."""

    deletion: PerturbationCurve
    insertion: PerturbationCurve


@dataclass(frozen=True)
class FaithfulnessResult:
    """Orders of pixels by name, and as many random orders as ``SEEDS``, each tested."""

    orders: Mapping[str, Trial]
    chance: Sequence[Trial]

    def better(self, name: str) -> tuple[bool, bool]:
        """Whether an order is better in deletion, and in insertion, than every random one."""
        test = self.orders[name]
        return (
            test.deletion.area < min(other.deletion.area for other in self.chance),
            test.insertion.area > max(other.insertion.area for other in self.chance),
        )

    def mean_chance(self) -> Trial:
        """The mean curves of the random orders."""
        return Trial(_mean([test.deletion for test in self.chance]), _mean([test.insertion for test in self.chance]))


def compare_maps(
    model: Bundle,
    pixels: np.ndarray,
    class_name: str,
    heatmaps: Mapping[str, np.ndarray],
    progress: Progress | None = None,
    steps: int = STEPS,
    seeds: int = SEEDS,
) -> FaithfulnessResult:
    """Deletion and insertion curves (Petsiuk et al. 2018, RISE) of heatmaps, and of random order.

    Deletion makes the hottest pixels grey first, and the better the heatmap the sooner the probability falls.
    Insertion starts from a blurred image and makes the hottest pixels sharp first, and the better the heatmap the
    sooner the probability rises. As in the paper the grey is even (the image's mean, the zero of theirs) and the blur
    5/224 of the side. A random order is that of a heatmap of noise, as coarse as the first of ``heatmaps``: pixels
    scattered one by one would spoil the image in a way that no heatmap does.

    Parameters
    ----------
    pixels : float32 ``[H, W]``, 0..1
    class_name : whose probability is followed
    heatmaps : ``[h, w]``, 0..1, by name; at least one
    progress : called with the part done, 0..1; what it raises ends the work
    steps : points of each curve besides the first
    seeds : random orders
    """
    image = ops.prepare(pixels, model.input_size)[..., 0]
    grey = np.full_like(image, image.mean())
    blurred = ops.blur(image, BLUR * image.shape[1])
    coarse = next(iter(heatmaps.values())).shape
    noise = [np.random.default_rng(seed).random(coarse, np.float32) for seed in range(seeds)]
    ranks = [rank_pixels(ops.upsample(one, image.shape)) for one in (*heatmaps.values(), *noise)]
    shares = np.linspace(0, 1, steps + 1)
    cases = [(ground, top, order, share) for order in ranks for ground, top in ((image, grey), (blurred, image))
             for share in shares]  # fmt: skip

    def mix(case: tuple[np.ndarray, np.ndarray, np.ndarray, float]) -> np.ndarray:
        ground, top, order, share = case
        return np.where(order < share * order.size, top, ground)

    index = model.classes.index(class_name)
    answers = np.array([answer[index] for answer in predict_cases(model, mix, cases, progress)], float)
    tests = [
        Trial(*(PerturbationCurve(shares, curve) for curve in pair)) for pair in answers.reshape(-1, 2, len(shares))
    ]
    return FaithfulnessResult(dict(zip(heatmaps, tests, strict=False)), tests[len(heatmaps) :])


def _mean(curves: Sequence[PerturbationCurve]) -> PerturbationCurve:
    return PerturbationCurve(curves[0].shares, np.mean([curve.probabilities for curve in curves], axis=0))
