"""The learning rate of every step. It hangs on the step alone, so that a resumed run goes on with the same."""

import math

SCHEDULES = ("constant", "cosine")


def rate(peak: float, step: int, steps: int, warm_up: int = 0, schedule: str = "constant") -> float:
    """The learning rate of one step.

    It first rises linearly to its peak (Goyal et al. 2017), ``peak (step + 1) / warm_up``, and then stays there, or
    falls to 0 along half a cosine (Loshchilov and Hutter 2017, without restarts)::

        rate = peak (1 + cos(pi t)) / 2,    t = (step - warm_up) / (steps - warm_up)

    Parameters
    ----------
    peak : the highest rate, above 0
    step : 0 .. steps - 1
    steps : of the whole run
    warm_up : the first so many steps rise
    schedule : one of ``SCHEDULES``
    """
    if step < warm_up:
        return peak * (step + 1) / warm_up
    if schedule == "constant":
        return peak
    return peak * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up))) / 2
