"""What can be trained and how, by default: the networks' names and recipes, known without TensorFlow."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """A network and the settings it is trained with unless a person chooses others.

    Attributes
    ----------
    title, description : for people
    input_size : height and width in pixels
    frozen_base : only the last layer is trained, on embeddings that are computed once
    views : with a frozen base, how many variants of each training image (the plain one and augmented ones) are embedded
    balanced : each class counts the same, however many images it has
    penalty : if above 0, the last layer is solved for by ``ridge`` with this penalty, in one epoch of no steps
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
    balanced: bool = False
    penalty: float = 0.0


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
        description="Looks at the image and at three zones of the lungs it finds. Made to hold up at another hospital.",
        input_size=(384, 384),
        frozen_base=True,
        epochs=1,
        batch_size=32,
        learning_rate=1e-3,
        augmentation="mirror",
        views=2,
        balanced=True,
        penalty=0.2,
    ),
}
