"""How a network is trained: the recipe of each, and the settings of one run."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import msgspec

from covid_cnn.common.errors import RunError

# What learns of a network, and from what beginning.
LEARNS = {
    "last": "The last layer only",
    "all": "The whole network",
    "scratch": "The whole network, from scratch",
}
# Settings that need steps of gradient descent, and what only some of those who take them have.
OF_STEPS = ("epochs", "batch_size", "learning_rate", "schedule", "warm_up", "patience", "label_smoothing", "mixup")


@dataclass(frozen=True)
class Recipe:
    """A network and the settings it is trained with unless a person chooses others."""

    title: str  # for people
    input_size: tuple[int, int]  # height and width in pixels
    frozen_base: bool  # only the last layer is trained, on embeddings that are computed once
    epochs: int
    batch_size: int
    learning_rate: float
    augmentation: str
    # With a frozen base, how many variants of each training image (the plain one and augmented ones) are embedded
    views: int = 1
    # How classes of different numbers of images are made to count the same, a name in ``BALANCES``
    balance: str = "none"
    # How the learning rate changes, see ``schedules``; warm-up in epochs
    schedule: str = "constant"
    warm_up: int = 0
    # Where a pretrained network learns as a whole, the share of the learning rate that its base gets
    base_rate: float = 1.0
    # See ``TrainConfig``
    patience: int = 0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    fetched: bool = False  # its pretrained weights come from the internet, once

    @property
    def choices(self) -> tuple[str, ...]:
        """What can learn of the network, as keys of ``LEARNS``, the recipe's own first."""
        return ("last", "all", "scratch") if self.frozen_base else ("scratch",)

    def learning(self, learns: str) -> "Recipe":
        """The recipe with what learns chosen, one of ``choices``."""
        if learns == self.choices[0]:
            return self
        whole = replace(self, frozen_base=False, views=1, batch_size=16, schedule="cosine", warm_up=1)
        if learns == "all":
            return replace(whole, epochs=10, learning_rate=1e-3, base_rate=0.1)
        return replace(whole, epochs=30, learning_rate=1e-3)

    def settings(self, learns: str) -> tuple[str, ...]:
        """The fields of ``TrainConfig`` that mean something where ``learns`` is chosen, but for data and network."""
        base = ("base_rate",) if learns == "all" else ()
        return ("learns", "augmentation", "seed", "balance", *OF_STEPS, *base)


def _transfer(title: str, pixels: int = 224, fetched: bool = True) -> Recipe:
    """The recipe of a network that knows ImageNet, whose last layer learns."""
    return Recipe(
        title=title,
        input_size=(pixels, pixels),
        frozen_base=True,
        epochs=40,
        batch_size=16,
        learning_rate=3e-3,
        augmentation="radiograph",
        views=4,
        fetched=fetched,
    )


INSTALLED = "efficientnet_lite0"  # its pretrained weights come with the program
RECIPES = {
    "efficientnet_lite0": _transfer("EfficientNet-Lite0", fetched=False),
    "notebook_cnn": Recipe(
        title="The notebook's CNN",
        input_size=(256, 256),
        frozen_base=False,
        epochs=15,
        batch_size=32,
        learning_rate=1e-3,
        augmentation="notebook",
    ),
    # Networks of keras.applications, under the names that they have there.
    "MobileNetV2": _transfer("MobileNetV2"),  # small and quick (9 MB)
    "EfficientNetV2B0": _transfer("EfficientNetV2-B0"),  # newer, slower than EfficientNet-Lite0 (24 MB)
    "DenseNet121": _transfer("DenseNet-121"),  # the one of CheXNet and most papers on chest X-rays (29 MB)
    "ResNet50": _transfer("ResNet-50"),  # the classic; large (95 MB)
}
# The other networks of keras.applications, with the height and width of the images that each was made for.
OTHER_NETWORKS = {
    **dict.fromkeys(("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge"), 224),
    **dict.fromkeys(("DenseNet169", "DenseNet201"), 224),
    **{f"EfficientNetB{n}": pixels for n, pixels in enumerate((224, 240, 260, 300, 380, 456, 528, 600))},
    **{f"EfficientNetV2B{n}": pixels for n, pixels in enumerate((240, 260, 300), start=1)},
    **{"EfficientNetV2S": 384, "EfficientNetV2M": 480, "EfficientNetV2L": 480},
    **dict.fromkeys(("InceptionV3", "InceptionResNetV2", "Xception"), 299),
    **dict.fromkeys(("MobileNet", "MobileNetV3Small", "MobileNetV3Large"), 224),
    **{"NASNetMobile": 224, "NASNetLarge": 331},
    **dict.fromkeys(("ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2", "VGG16", "VGG19"), 224),
}


def recipe_of(network: str) -> Recipe | None:
    """The recipe of a network; None if there is none."""
    if network in OTHER_NETWORKS:
        return _transfer(network, OTHER_NETWORKS[network])
    return RECIPES.get(network)


def find_recipe(network: str) -> Recipe:
    """The recipe of a network; raises RunError if there is none."""
    if recipe := recipe_of(network):
        return recipe
    raise RunError(
        f"There is no network called {network}; choose one of {', '.join(RECIPES)}, or another of keras.applications "
        "by its name there."
    )


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run. ``of`` makes one from the recipe of its network."""

    data: str  # name or path of the dataset
    network: str  # one that ``recipes`` knows
    learns: str  # what learns of it, one of its recipe's ``choices``
    # At least 1
    epochs: int
    batch_size: int
    learning_rate: float  # of Adam, above 0; the highest where it changes
    augmentation: str  # a key of ``augment.AUGMENTATIONS``
    seed: int  # of the weights, the order of the images, their augmentation and the splits that are made
    patience: int  # epochs without a lower validation loss after which the training ends early; 0 for never
    # How the learning rate changes, one of ``SCHEDULES``; epochs in which it rises first
    schedule: str
    warm_up: int
    base_rate: float  # the share of the learning rate that a pretrained base gets, above 0 and at most 1
    balance: str  # how classes of different numbers of images are made to count the same, one of ``BALANCES``
    label_smoothing: float  # the share of every target that is spread over all classes, 0 to below 1
    mixup: float  # the alpha of mixup (Zhang et al. 2018), 0 for none

    def __post_init__(self) -> None:
        from covid_cnn.images.augment import AUGMENTATIONS  # the command line's start, which lists recipes, needs none

        recipe = find_recipe(self.network)
        _check_choice("way to learn", self.learns, recipe.choices)
        _check_choice("augmentation", self.augmentation, AUGMENTATIONS)
        _check_choice("schedule", self.schedule, SCHEDULES)
        _check_choice("balance", self.balance, BALANCES)
        if self.patience < 0:
            raise RunError("The patience must be 0, for none, or a number of epochs.")
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.learning_rate < 10 or not 0 <= self.seed < 2**32:
            raise RunError(
                "Epochs and batch size must be at least 1, the learning rate above 0 and below 10, "
                "the seed from 0 to 4294967295."
            )
        if not 0 <= self.warm_up <= self.epochs or not 0 < self.base_rate <= 1:
            raise RunError("The warm-up must be no longer than the training, the base's rate above 0 and at most 1.")
        if not 0 <= self.label_smoothing < 1 or not 0 <= self.mixup <= 10:
            raise RunError("The label smoothing must be from 0 to below 1, the alpha of mixup from 0, for none, to 10.")

    @classmethod
    def of(cls, data: str, network: str, **chosen: Any) -> "TrainConfig":
        """The recipe of ``network``, with what a person has ``chosen`` (None: not chosen) in place of its defaults."""
        given = {key: value for key, value in chosen.items() if value is not None}
        recipe = find_recipe(network)
        learns = given.setdefault("learns", recipe.choices[0])
        _check_choice("way to learn", learns, recipe.choices)
        defaults = {"seed": 0} | asdict(recipe.learning(learns))
        names = {field.name for field in fields(cls)}
        return cls(data, network, **({key: value for key, value in defaults.items() if key in names} | given))

    @classmethod
    def read(cls, text: bytes) -> "TrainConfig":
        """The settings in a ``config.json``, with the recipe's for what it leaves out. Raises RunError, ValueError."""
        given = msgspec.structs.asdict(msgspec.json.decode(text, type=_Settings))
        return cls.of(**{name: value for name, value in given.items() if value is not msgspec.UNSET})

    @property
    def recipe(self) -> Recipe:
        """That of the network with what learns of it."""
        return find_recipe(self.network).learning(self.learns)

    @property
    def active_settings(self) -> dict[str, Any]:
        """The settings that change something in how the network learns here, by their names."""
        names = ("data", "network", *find_recipe(self.network).settings(self.learns))
        return {name: getattr(self, name) for name in names}

    @property
    def command(self) -> str:
        """The command line that trains so."""
        return train_command(self.active_settings)


def train_command(settings: Mapping[str, Any]) -> str:
    """The command line that trains with these settings, by the names of its options."""
    options = (text for key, value in settings.items() for text in (f"--{key.replace('_', '-')}", str(value)))
    return shlex.join(["python", "-m", "covid_cnn", "train", *options])


# Each of the settings of its type, and nothing else; all but data and network may be left out.
_Settings = msgspec.defstruct(
    "_Settings",
    [(field.name, field.type) for field in fields(TrainConfig)[:2]]
    + [(field.name, field.type | msgspec.UnsetType, msgspec.UNSET) for field in fields(TrainConfig)[2:]],
    forbid_unknown_fields=True,
)


def _check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise RunError(f"There is no {what} called {value}; choose one of {', '.join(choices)}.")


BALANCES = ("none", "weights", "sampling")
SCHEDULES = ("constant", "cosine")
