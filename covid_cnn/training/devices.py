"""The devices that a run trains on: one, or all GPUs of the machine together."""

from pathlib import Path

import tensorflow as tf


def device_strategy(whole: bool) -> tf.distribute.Strategy:
    """Distribute training over several GPUs: mirrored weights, gradients summed after each step.

    With one GPU or none it is TensorFlow's own strategy, which changes nothing. Networks have to be built and compiled
    in its scope.

    Parameters
    ----------
    whole : the whole network learns; the last layer alone is too little work to share
    """
    found = _gpus() if whole else []
    return tf.distribute.MirroredStrategy(found) if len(found) > 1 else tf.distribute.get_strategy()


def mixed_precision(whole: bool) -> str:
    """The precision that the layers of a network compute in while it learns, as a dtype policy of Keras.

    Where the processor multiplies bfloat16 by itself, a step takes half the time in it. Weights, gradients' sums and
    the loss stay float32 (mixed precision, Micikevicius et al. 2018), and what is exported is float32 too.

    Parameters
    ----------
    whole : the whole network learns; a last layer alone is quick enough
    """
    quick = whole and not tf.config.list_physical_devices("GPU") and _flags() & {"avx512_bf16", "amx_bf16"}
    return "mixed_bfloat16" if quick else "float32"


def _flags() -> set[str]:
    """The instruction sets of the processor, by Linux's names; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _gpus() -> list[str]:
    return [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
