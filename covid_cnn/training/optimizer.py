"""The optimiser, with lower learning rates for a pretrained base, and the learning-rate schedule."""

from typing import Any

import keras
from keras.optimizers.schedules import CosineDecay, LearningRateSchedule

from covid_cnn.runs.config import TrainConfig

LAST = "logits"


def learning_rate(config: TrainConfig, steps: int) -> float | LearningRateSchedule:
    """The learning-rate schedule of a run, or its constant rate, as Keras takes it.

    It first rises linearly to its peak (Goyal et al. 2017), in step s of the warm-up of W to ``peak (s + 1) / W``, and
    then stays there, or falls to 0 along half a cosine (Loshchilov and Hutter 2017, without restarts). An epoch has so
    many ``steps``.
    """
    constant, rising = config.schedule == "constant", max(0, config.warm_up * steps - 1)
    if constant and not rising:
        return config.learning_rate
    return CosineDecay(
        config.learning_rate / (rising + 1),
        decay_steps=max(1, config.epochs * steps - rising),
        alpha=1.0 if constant else 0.0,
        warmup_target=config.learning_rate if rising else None,
        warmup_steps=rising,
    )


@keras.saving.register_keras_serializable("covid_cnn")
class DiscriminativeAdam(keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015) with the full rate for the last layer and a share of it, ``base_rate``, for the base.

    The last layer starts from chance and has far to go. At its rate the first gradients, which are about nothing yet,
    would wipe out what the base knows (Howard and Ruder 2018).
    """

    def __init__(
        self, learning_rate: float | LearningRateSchedule = 0.001, base_rate: float = 1.0, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.base_rate = base_rate

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Take the step of one variable, whose name begins with that of its layer, at its own rate."""
        share = 1.0 if variable.name.startswith(f"{LAST}/") else self.base_rate
        super().update_step(gradient, variable, learning_rate * share)

    def get_config(self) -> dict:
        """As Keras asks of what is saved."""
        return super().get_config() | {"base_rate": self.base_rate}


# As earlier versions called it, in the checkpoints of their runs.
keras.saving.get_custom_objects()["covid_cnn>GentleAdam"] = DiscriminativeAdam


@keras.saving.register_keras_serializable("covid_cnn")
def accuracy(targets, logits):
    """Accuracy: the share of images whose most probable class is that of their target, which may be soft."""
    if logits.shape[-1] == 1:
        return keras.ops.cast((targets > 0.5) == (logits > 0), "float32")[:, 0]
    return keras.metrics.categorical_accuracy(targets, logits)


def compile_network(
    model: keras.Model,
    learning_rate: float | LearningRateSchedule,
    base_rate: float = 1.0,
    label_smoothing: float = 0.0,
) -> None:
    """Compile a network that ends in logits for cross-entropy on targets as ``data.one_hot`` makes them.

    All layers but the last get the share ``base_rate`` of Adam's rate (`DiscriminativeAdam`); ``label_smoothing`` is
    the share of every target that is spread over all classes (Szegedy et al. 2016), 0 to below 1.
    """
    optimizer = keras.optimizers.Adam(learning_rate) if base_rate == 1 else DiscriminativeAdam(learning_rate, base_rate)
    model.compile(optimizer, **_scores(model, label_smoothing))
    optimizer.build(model.trainable_variables)  # within a step, several devices could not


def eval_model(model: keras.Model) -> keras.Model:
    """The same network sharing its weights, compiled for validation: no label smoothing, one device.

    Smoothed targets would make runs with and without smoothing incomparable. Of several devices some may get no image
    of a batch, on which Keras fails.
    """
    same = keras.Model(model.inputs, model.outputs)
    same.compile(**_scores(model))
    return same


def _scores(model: keras.Model, label_smoothing: float = 0.0) -> dict[str, Any]:
    """The loss and the metrics, as ``compile`` of Keras takes them."""
    loss = keras.losses.BinaryCrossentropy if model.output_shape[-1] == 1 else keras.losses.CategoricalCrossentropy
    loss = loss(from_logits=True, label_smoothing=label_smoothing)
    return {"loss": loss, "metrics": [accuracy], "jit_compile": False}


def prepare_statistics(network: keras.Model, pretrained: bool) -> None:
    """Set the momentum of batch normalisation's running statistics, where the whole network is trained.

    Those of a pretrained network stay. They were taken of a million photographs; those of a batch of sixteen X-rays
    would be noise, and would change under all the weights that were made for the old ones. From scratch they have to
    be found in few steps: at Keras's momentum of up to 0.999 they would need thousands.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            if pretrained:
                layer.trainable = False
            else:
                layer.momentum = 0.9


def reseed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Seed dropout by seed and epoch alone, so that a resumed run drops the same units."""
    for index, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign((seed * 1000 + index, epoch))
