"""The training of the default model: EfficientNet-Lite0 on crops to the lungs, fine-tuned whole.

An ordinary loop over a compiled step: the images are varied in a thread while the step before runs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import keras
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from benchmarks.default_model.crops import BATCH, Crops
from benchmarks.default_model.hospitals import CLASSES
from benchmarks.default_model.network import lung_grid, on_crops
from benchmarks.default_model.variation import Variation, vary
from covid_cnn.common.jobs import map_ahead
from covid_cnn.data.classes import COVID, NORMAL, OTHER


@dataclass(frozen=True)
class Recipe:
    """What a training is made of.

    Attributes
    ----------
    images : how many images are shown in all, each varied anew
    batch : images a step
    rate, decay : largest learning rate, and weight decay, of AdamW
    smoothing : label smoothing
    doubt : share of "normal" in the label of an image of ``doubted`` sources that is called other pneumonia
    which : weight of the loss that tells the illnesses apart, beside that which tells ill from healthy, for an image
        of a source that holds one illness only, where recognising the source would do; 1 where it holds both
    evenness : 0 shows the sources of a class as often as they have images, 1 all equally often
    average : momentum of the mean of the weights over the steps, which is what is kept
    dropout : of the embedding
    lung : least weight, 0..1, that a place without lung has in the mean over the places; 1 takes all alike
    variation : of each image
    """

    images: int = 12_000
    batch: int = 16
    rate: float = 3e-4
    decay: float = 1e-2
    smoothing: float = 0.1
    doubt: float = 0.3
    which: float = 1.0
    evenness: float = 0.5
    average: float = 0.995
    dropout: float = 0.3
    lung: float = 0.2
    shares: tuple[float, ...] = (1.0, 1.0, 1.0)
    variation: Variation = field(default_factory=Variation)


@dataclass(frozen=True)
class Learned:
    """What a training learns from: N images, a class, a source and a degree of doubt each.

    Attributes
    ----------
    crops : of the images
    labels : int ``[N]``
    sources : N names
    doubtful : bool ``[N]``, whether the label was mined from a report
    """

    crops: Crops
    labels: np.ndarray
    sources: Sequence[str]
    doubtful: np.ndarray


def targets(learned: Learned, recipe: Recipe) -> np.ndarray:
    """The labels as shares, float32 ``[N, 3]``: smoothed, and doubted where they were mined from a report."""
    k = len(CLASSES)
    shares = np.eye(k, dtype=np.float32)[learned.labels]
    doubted = learned.doubtful & (learned.labels == CLASSES.index(OTHER))
    shares[doubted, CLASSES.index(OTHER)] -= recipe.doubt
    shares[doubted, CLASSES.index(NORMAL)] += recipe.doubt
    return shares * (1 - recipe.smoothing) + recipe.smoothing / k


def chances(learned: Learned, recipe: Recipe) -> np.ndarray:
    """How often each image is shown, ``[N]``, sum 1: every class alike, and its sources more evenly than they are."""
    cells = [f"{label} {source}" for label, source in zip(learned.labels, learned.sources, strict=True)]
    _, cell, counts = np.unique(cells, return_inverse=True, return_counts=True)
    chance = 1.0 / counts[cell] ** recipe.evenness
    for label in np.unique(learned.labels):
        chance[learned.labels == label] *= recipe.shares[label] / chance[learned.labels == label].sum()
    return chance / chance.sum()


def weights(learned: Learned, recipe: Recipe) -> np.ndarray:
    """How much each image counts in telling the illnesses apart, float32 ``[N]``."""
    sources = np.array(learned.sources)
    of_covid, of_other = (set(sources[learned.labels == CLASSES.index(name)]) for name in (COVID, OTHER))
    return np.where(np.isin(sources, list(of_covid & of_other)), 1, recipe.which).astype(np.float32)


def loss(shares, which, logits):
    """Ill or not, and of the ill which: together the cross-entropy of three classes where ``which`` is 1.

    Parameters
    ----------
    shares : ``[N, 3]``, of ``targets``
    which : ``[N]``, of ``weights``
    logits : ``[N, 3]``
    """
    covid, normal, other = (CLASSES.index(name) for name in (COVID, NORMAL, OTHER))
    ill = shares[:, covid] + shares[:, other]
    odds = tf.reduce_logsumexp(tf.gather(logits, [covid, other], axis=1), axis=1) - logits[:, normal]
    first = tf.nn.sigmoid_cross_entropy_with_logits(ill, odds)
    share = shares[:, covid] / ill
    second = tf.nn.sigmoid_cross_entropy_with_logits(share, logits[:, covid] - logits[:, other])
    return tf.reduce_mean(first + which * ill * second)


def train(learned: Learned, recipe: Recipe, seed: int) -> keras.Model:
    """A network trained from the ImageNet weights, with the mean of its weights over the steps.

    Parameters
    ----------
    learned : the images
    seed : of the last layer's first weights, of the order and of the variation
    """
    keras.utils.set_random_seed(seed)
    model = on_crops(recipe.lung, recipe.dropout)
    steps = recipe.images // recipe.batch
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.rate / 50, steps, alpha=0.01, warmup_target=recipe.rate, warmup_steps=steps // 20
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=recipe.decay, use_ema=True, ema_momentum=recipe.average, global_clipnorm=1.0
    )
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(crops, lungs, shares, which):
        with tf.GradientTape() as tape:
            value = loss(shares, which, model([crops, lungs], training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return value

    with threadpool_limits(1, "blas"):  # whose threads would wait for those that vary the images
        for batch in islice(batches(learned, recipe, seed), steps):
            step(*map(tf.constant, batch))
    optimizer.finalize_variable_values(model.trainable_variables)
    return model


def batches(learned: Learned, recipe: Recipe, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches of crops, lungs, shares and weights without end, each image varied by a generator of its own."""
    chance, shares, which = (of(learned, recipe) for of in (chances, targets, weights))
    sources = np.array(learned.sources)
    elsewhere = {name: np.flatnonzero(sources != name) for name in set(learned.sources)}
    weight = 1.0 / np.unique(sources, return_counts=True)[1][np.unique(sources, return_inverse=True)[1]] ** 0.5
    order = np.random.default_rng(seed)

    def one(task: tuple[int, int]) -> tuple[np.ndarray, ...]:
        index, number = task
        rng = np.random.default_rng((seed, number))

        def other() -> np.ndarray:
            rivals = elsewhere[sources[index]]
            return learned.crops.wide[rng.choice(rivals, p=weight[rivals] / weight[rivals].sum())]

        pixels, lung = vary(learned.crops.wide[index], learned.crops.lung[index], other, recipe.variation, rng)
        return pixels[..., None], lung_grid(lung)[0], shares[index], which[index]

    def tasks() -> Iterator[tuple[int, int]]:
        number = 0
        while True:
            for index in order.choice(len(chance), 512, p=chance):
                yield int(index), number
                number += 1

    varied = map_ahead(tasks(), one, most=4 * recipe.batch)
    while True:
        yield tuple(np.stack(part) for part in zip(*islice(varied, recipe.batch), strict=True))


def answers(model: keras.Model, crops: Crops) -> np.ndarray:
    """The logits ``[N, 3]`` of a trained network for N images."""
    ask = tf.function(lambda crop, lung: model([crop, lung], training=False), reduce_retracing=True)
    logits = []
    for at in range(0, len(crops.exact), BATCH):
        crop, lung = (part[at : at + BATCH] / np.float32(255) for part in (crops.exact, crops.lung))
        logits.append(ask(tf.constant(crop[..., None]), tf.constant(lung_grid(lung))).numpy())
    return np.concatenate(logits)
