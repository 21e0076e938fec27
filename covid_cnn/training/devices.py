"""The devices that a run trains on: one, or all GPUs of the machine as if they were one."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf


def device_strategy(whole: bool) -> tf.distribute.Strategy:
    """Several GPUs learn together: each holds the same weights, and their gradients are summed after each step.

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
    """What the processor can do, by the names that Linux has for it; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _gpus() -> list[str]:
    return [gpu.name for gpu in tf.config.list_logical_devices("GPU")]


def train_on_batch(
    model: keras.Model, inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> dict[str, float]:
    """One step of training on a batch, of which each device of the model's strategy takes its share.

    The step is that of one device on the whole batch, but for what layers work out of what they see: batch
    normalisation takes the mean of a share, and dropout the same units of every share. Keras's own ``train_on_batch``
    would give each device the whole batch.

    Parameters
    ----------
    model : compiled
    inputs : float ``[N, ...]``, N at least 1
    targets : float ``[N, K]``
    weights : float32 ``[N]``, what each image counts

    Returns
    -------
    The loss and the metrics; where N is no multiple of the devices, a metric is the mean of theirs.
    """
    devices = model.distribute_strategy.num_replicas_in_sync
    if devices == 1 or len(inputs) < devices:  # with fewer images than devices all do the same, which does no harm
        return model.train_on_batch(inputs, targets, weights, return_dict=True)
    shares = np.array_split(np.arange(len(inputs)), devices)

    def of(values: np.ndarray) -> tf.distribute.DistributedValues:
        parts = [tf.constant(values[share]) for share in shares]
        return model.distribute_strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )

    # Keras takes the mean over a share, and over the devices: so an image of a small share would count for more.
    even = len(inputs) / devices
    balanced = np.concatenate([weights[share] * np.float32(len(share) / even) for share in shares])
    model._symbolic_build(data_batch=(inputs, targets, weights))  # as Keras does: no variable can be made in a step
    model.make_train_function()
    model.reset_metrics()
    told = model.train_function(iter([(of(inputs), of(targets), of(balanced))]))
    return {name: float(value) for name, value in told.items()}
