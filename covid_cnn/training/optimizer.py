"""How the weights move: an optimiser with gentler rates for a pretrained base, and the learning-rate schedule."""

import math
from typing import Any

import keras


def learning_rate(peak: float, step: int, steps: int, warm_up: int = 0, schedule: str = "constant") -> float:
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


LAST = "logits"


@keras.saving.register_keras_serializable("covid_cnn")
class DiscriminativeAdam(keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015) whose learning rate holds for the last layer; the base learns at a share of it.

    The last layer starts from chance and has far to go. At its rate the first gradients, which are about nothing yet,
    would wipe out what the base knows (Howard and Ruder 2018).

    Parameters
    ----------
    base_rate : the share, 0..1
    """

    def __init__(self, learning_rate: float = 0.001, base_rate: float = 1.0, **options) -> None:
        super().__init__(learning_rate, **options)
        self.base_rate = base_rate

    def build(self, variables) -> None:
        """Find the share of the rate of each variable."""
        super().build(variables)
        self._shares = [1.0 if v.path.startswith(f"{LAST}/") else self.base_rate for v in variables]

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Take the step of one variable at its own rate."""
        share = self._shares[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * share)

    def get_config(self) -> dict:
        """As Keras asks of what is saved."""
        return super().get_config() | {"base_rate": self.base_rate}


@keras.saving.register_keras_serializable("covid_cnn")
def accuracy(targets, logits):
    """The share of images whose strongest class is also that of their target, which may be soft."""
    if logits.shape[-1] == 1:
        return keras.ops.cast((targets > 0.5) == (logits > 0), "float32")[:, 0]
    return keras.metrics.categorical_accuracy(targets, logits)


def compile_network(model: keras.Model, learning_rate: float, base_rate: float = 1.0) -> None:
    """Make a network that ends in logits ready to learn from targets (``data.as_output``) by cross-entropy."""
    optimizer = keras.optimizers.Adam(learning_rate) if base_rate == 1 else DiscriminativeAdam(learning_rate, base_rate)
    model.compile(optimizer, **_scores(model))
    optimizer.build(model.trainable_variables)  # within a step, several devices could not


def eval_model(model: keras.Model) -> keras.Model:
    """The same network, with the same weights as they change, to be evaluated by what it learns by."""
    same = keras.Model(model.inputs, model.outputs)
    same.compile(**_scores(model))
    return same


def _scores(model: keras.Model) -> dict[str, Any]:
    """The loss and the metrics, as ``compile`` of Keras takes them."""
    loss = keras.losses.BinaryCrossentropy if model.output_shape[-1] == 1 else keras.losses.CategoricalCrossentropy
    return {"loss": loss(from_logits=True), "metrics": [accuracy], "jit_compile": False}


def prepare_statistics(network: keras.Model, pretrained: bool) -> None:
    """Set how the means and variances of batch normalisation learn, where a whole network does.

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
