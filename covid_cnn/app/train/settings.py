"""The fields of a new training run. They take their values from the recipe of the network and of what learns of it."""

from typing import Any

import streamlit as st

from covid_cnn.app.shared import demo
from covid_cnn.images.augment import AUGMENTATIONS
from covid_cnn.runs.config import LEARNS, OTHER_NETWORKS, RECIPES, Recipe, TrainConfig, find_recipe

LEARNS_LINES = {
    "last": "What the network knows of photographs stays as it is. Quick, and hard to overdo with few images.",
    "all": "Fine-tuning: all of it goes on learning, gently. Minutes to hours; may see more, or learn by heart.",
    "scratch": "From random weights, without ImageNet. Needs many images.",
}
AUGMENTATION_LINES = {
    "none": "Every epoch shows the same images.",
    "mirror": "Left and right change places.",
    "notebook": "Zoomed by up to a fifth, and mirrored half of the time, as in the student notebook.",
    "radiograph": "Turned, moved, zoomed and exposed a little, as between two takes of one patient. Never mirrored.",
    "hospitals": "The same, further, with blur, noise, compression and stamped letters, as between hospitals.",
    "styles": "Other hospitals: most images in the tones, shade and sharpness of a random other image, so that these "
    "tell no class.",
}
# Label, least, most, step, format and help of every number.
NUMBERS: dict[str, tuple[str, float, float, float | None, str | None, str]] = {
    "epochs": ("Epochs", 1, 1000, None, None, "How many times the network sees all training images."),
    "batch_size": (
        "Batch size",
        1,
        1024,
        None,
        None,
        "How many images it looks at before each small correction of its weights (a step). Larger is smoother and "
        "needs more memory.",
    ),
    "learning_rate": (
        "Learning rate",
        0.0,
        10.0,
        1e-4,
        "%g",
        "How large each correction is. Too small learns slowly; too large never settles.",
    ),
    "seed": (
        "Seed",
        0,
        2**32 - 1,
        None,
        None,
        "Decides everything random: first weights, order, variations, splits. The same seed gives the same run again.",
    ),
    "patience": (
        "Patience",
        0,
        1000,
        None,
        None,
        "Early stopping: the training ends when the validation loss has not fallen for so many epochs. 0: it never "
        "ends early.",
    ),
    "warm_up": (
        "Warm-up",
        0,
        1000,
        None,
        None,
        "The learning rate rises from 0 to its full size over so many epochs, so that the first corrections, made when "
        "the network knows nothing yet, do no harm. 0: it begins at its full size.",
    ),
    "base_rate": (
        "Share of the base",
        0.001,
        1.0,
        0.05,
        "%.3f",
        "The last layer learns at the learning rate, everything before it at this share of it: it knows something "
        "already, that large corrections would wipe out.",
    ),
    "label_smoothing": (
        "Label smoothing",
        0.0,
        0.9,
        0.05,
        "%.2f",
        "How much of each label is spread over all classes: with 0.1 and two classes, a sick image is to be called "
        "sick by 95 %, not 100 %. Keeps the network from being too sure of itself. 0: none.",
    ),
    "mixup": (
        "Mixup",
        0.0,
        10.0,
        0.1,
        "%.2f",
        "Images are laid over one another, and their labels likewise: 30 % of one, 70 % of another. The number is the "
        "alpha of the mixture: 0.2 mostly keeps one image, 1 mixes any shares. Where only the last layer learns, it "
        "is their embeddings that are mixed. 0: none.",
    ),
}
CHOICES = {
    "balance": (
        "Unequal classes",
        {"none": "As they are", "weights": "Class weights", "sampling": "Balanced sampling"},
        "With ten times as many healthy as sick images a network may call all of them healthy. Class weights let an "
        "image of a rare class count more; balanced sampling shows it more often.",
    ),
    "schedule": (
        "Learning rate over time",
        {"constant": "Constant", "cosine": "Cosine"},
        "Constant: it stays. Cosine: it falls slowly, then faster, and slowly again to 0 at the last epoch, so that "
        "the network settles.",
    ),
}
OTHER = "other"  # a network that is chosen by its name
OFFERED = tuple(key for key, recipe in RECIPES.items() if not recipe.fetched)  # installed with the program
NAMED = (*(key for key, recipe in RECIPES.items() if recipe.fetched), *sorted(OTHER_NETWORKS))
NETWORK_LINES = {
    "efficientnet_lite0": "Knows photographs already; its last layer learns your classes. A minute.",
    "notebook_cnn": "The student notebook's four convolutions, from scratch. Minutes.",
    OTHER: "By its name; its weights come from the internet, once.",
}
FIELD = 150  # pixels
ABOVE = ("epochs", "batch_size", "learning_rate", "seed", "patience")


def choose_network() -> str:
    """The network to train, as a key of the recipes or a name of Keras."""
    titles = {key: RECIPES[key].title for key in OFFERED} | {OTHER: "Another"}
    network = st.radio(
        "Network",
        list(titles),
        format_func=titles.__getitem__,
        captions=[NETWORK_LINES.get(key, "") for key in titles],
        key="train_network",
        label_visibility="collapsed",
    )
    if network == OTHER:
        network = st.selectbox("Its name", NAMED, key="train_other", format_func=lambda name: find_recipe(name).title)
    return network


def draw_settings(network: str) -> tuple[dict[str, Any], str | None]:
    """The fields: the settings by their names in TrainConfig, and the run's name if one is given."""
    learns = _learns(network)
    recipe, offered = find_recipe(network).learning(learns), find_recipe(network).settings(learns)
    chosen: dict[str, Any] = {"network": network, "learns": learns}
    with st.container(horizontal=True):
        for field in ABOVE:
            if field in offered:
                chosen[field] = _number(field, recipe, network, learns)
    chosen["augmentation"] = st.radio(
        "Augmentation",
        AUGMENTATIONS,
        index=list(AUGMENTATIONS).index(recipe.augmentation),
        format_func=str.capitalize,
        captions=[AUGMENTATION_LINES.get(key, "") for key in AUGMENTATIONS],
        key=_key("augmentation", network, learns),
        help="How training images are varied at random, so that the network cannot learn them by heart.",
    )
    for field in CHOICES:
        if field in offered:
            chosen[field] = _choice(field, recipe, network, learns)
    with st.container(horizontal=True):
        for field in NUMBERS:
            if field in offered and field not in ABOVE:
                chosen[field] = _number(field, recipe, network, learns)
    if demo.is_visitor():
        return chosen, None
    name = st.text_input(
        "Name (optional)",
        key="train_name",
        placeholder="made from network, dataset and time",
        help="Of the run, and of the model that it makes: letters, digits, dots, dashes and underscores.",
    )
    return chosen, name.strip() or None


def describe_settings(config: TrainConfig) -> dict[str, str]:
    """The settings that mean something for a run, in the words of the fields."""
    titles = {"data": "Dataset", "network": "Network", "learns": "What learns", "augmentation": "Augmentation"}
    titles |= {field: described[0] for field, described in (NUMBERS | CHOICES).items()}
    words = {"network": {config.network: find_recipe(config.network).title}, "learns": LEARNS}
    words |= {field: names for field, (_, names, _) in CHOICES.items()}
    words["augmentation"] = {key: key.capitalize() for key in AUGMENTATIONS}
    return {titles[key]: words.get(key, {}).get(value, str(value)) for key, value in config.active_settings.items()}


def fill_settings(config: TrainConfig) -> None:
    """Fill the fields of a new run with these settings; the dataset only where there is one of its name under data/."""
    state = st.session_state
    state["train_run"], state["train_network"] = None, config.network
    if config.network not in OFFERED:
        state["train_network"], state["train_other"] = OTHER, config.network
    state["train_data"] = state["train_data_wanted"] = config.data
    state[f"train_learns_{config.network}"] = config.learns
    for field, value in config.active_settings.items():
        if field not in ("data", "network", "learns"):
            state[_key(field, config.network, config.learns)] = value


def _key(field: str, network: str, learns: str) -> str:
    """Another network, or another part of it that learns, brings its own defaults; the seed stays."""
    return f"train_{field}" if field == "seed" else f"train_{field}_{network}_{learns}"


def _learns(network: str) -> str:
    choices = find_recipe(network).choices
    if len(choices) == 1:
        return choices[0]
    return st.radio(
        "What learns",
        choices,
        format_func=lambda key: LEARNS[key],
        captions=[LEARNS_LINES[key] for key in choices],
        key=f"train_learns_{network}",
        help="A network that knows photographs can be taken as it is, or go on learning as a whole.",
    )


def _number(field: str, recipe: Recipe, network: str, learns: str) -> Any:
    label, least, most, step, form, help_text = NUMBERS[field]
    value = getattr(recipe, field, 0)
    key = _key(field, network, learns)
    return st.number_input(label, least, most, value, step, form, key=key, help=help_text, width=FIELD)


def _choice(field: str, recipe: Recipe, network: str, learns: str) -> str:
    label, titles, help_text = CHOICES[field]
    choices = list(titles)
    return st.radio(
        label,
        choices,
        index=choices.index(getattr(recipe, field)),
        format_func=lambda key: titles[key],
        key=_key(field, network, learns),
        horizontal=True,
        help=help_text,
    )
