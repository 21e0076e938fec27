"""What can be trained and how, by default: the networks' names and recipes, known without TensorFlow."""

from dataclasses import dataclass, replace

from covid_cnn.errors import RunError

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
    """A network and the settings it is trained with unless a person chooses others.

    Attributes
    ----------
    title, description : for people
    input_size : height and width in pixels
    frozen_base : only the last layer is trained, on embeddings that are computed once
    views : with a frozen base, how many variants of each training image (the plain one and augmented ones) are embedded
    penalty : if above 0, the last layer is solved for by ``ridge`` with this penalty, in one epoch of no steps
    balance : how classes of different numbers of images are made to count the same, a name in ``targets.BALANCES``
    schedule, warm_up : how the learning rate changes, see ``schedules``; warm-up in epochs
    base_rate : where a pretrained network learns as a whole, the share of the learning rate that its base gets
    patience, label_smoothing, mixup : see ``runs.TrainConfig``
    fetched : its pretrained weights come from the internet, once
    """

    title: str
    description: str
    input_size: tuple[int, int]
    frozen_base: bool
    epochs: int
    batch_size: int
    learning_rate: float
    augmentation: str
    views: int = 1
    penalty: float = 0.0
    balance: str = "none"
    schedule: str = "constant"
    warm_up: int = 0
    base_rate: float = 1.0
    patience: int = 0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    fetched: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """What can learn of the network, as keys of ``LEARNS``, the recipe's own first."""
        if self.penalty:
            return ("last",)
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
        steps = () if self.penalty else OF_STEPS
        base = ("base_rate",) if learns == "all" else ()
        return ("learns", "augmentation", "seed", "balance", *steps, *base)


def _of_keras(title: str, description: str, pixels: int = 224) -> Recipe:
    return Recipe(
        title=title,
        description=f"Transfer learning, weights from the internet, once. {description}",
        input_size=(pixels, pixels),
        frozen_base=True,
        epochs=40,
        batch_size=16,
        learning_rate=3e-3,
        augmentation="radiograph",
        views=4,
        fetched=True,
    )


INSTALLED = "efficientnet_lite0"  # its pretrained weights come with the program
RECIPES = {
    "efficientnet_lite0": Recipe(
        title="EfficientNet-Lite0",
        description="Transfer learning: a network that knows ImageNet, whose last layer learns your classes. Quick.",
        input_size=(224, 224),
        frozen_base=True,
        epochs=40,
        batch_size=16,
        learning_rate=3e-3,
        augmentation="radiograph",
        views=4,
    ),
    "notebook_cnn": Recipe(
        title="The notebook's CNN",
        description="Four convolutions trained from scratch, as the student notebook published it. Minutes.",
        input_size=(256, 256),
        frozen_base=False,
        epochs=15,
        batch_size=32,
        learning_rate=1e-3,
        augmentation="notebook",
    ),
    "lung_zones": Recipe(
        title="Lung zones",
        description="The base of the default model, for any classes. It is used to X-rays in this: it finds the lungs, "
        "and looks at their zones in one tone. What it sees there it knows from photographs (ImageNet).",
        input_size=(384, 384),
        frozen_base=True,
        epochs=1,
        batch_size=32,
        learning_rate=1e-3,
        augmentation="mirror",
        views=2,
        penalty=0.2,
        balance="weights",
    ),
    # Networks of keras.applications, under the names that they have there.
    "MobileNetV2": _of_keras("MobileNetV2", "Small and quick (9 MB)."),
    "EfficientNetV2B0": _of_keras("EfficientNetV2-B0", "Newer, slower than EfficientNet-Lite0 (24 MB)."),
    "DenseNet121": _of_keras("DenseNet-121", "The one of CheXNet and most papers on chest X-rays (29 MB)."),
    "ResNet50": _of_keras("ResNet-50", "The classic; large (95 MB)."),
}


# The other networks of keras.applications, with the height and width of the images that each was made for.
OTHERS = {
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


def get(network: str) -> Recipe | None:
    """The recipe of a network; None if there is none."""
    if network in OTHERS:
        return _of_keras(network, "As Keras has it.", OTHERS[network])
    return RECIPES.get(network)


def find(network: str) -> Recipe:
    """The recipe of a network; raises RunError if there is none."""
    if recipe := get(network):
        return recipe
    raise RunError(
        f"There is no network called {network}; choose one of {', '.join(RECIPES)}, or another of keras.applications "
        "by its name there."
    )
