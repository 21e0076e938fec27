"""What a run is shown, and where it looks in a few validation images while it learns."""

from pathlib import Path

import streamlit as st

from covid_cnn.app.shared import elements
from covid_cnn.images import ops
from covid_cnn.runs import pictures
from covid_cnn.runs.run import Run

WIDTH = 220  # pixels of a picture


def draw_pictures(run: Run, live: bool) -> None:
    """The pictures that the run has kept: of the newest epoch while it is ``live``, then of any."""
    attention, below = st.container(), st.container()  # always in this order, whichever is there first
    with attention:
        _attention(run, live)
    changed = pictures.changed_between(run.folder, "augmented")
    if shown := _shown(run.folder, changed):
        with below.expander("What the network is shown", icon=":material/photo_library:"):
            with st.container(horizontal=True):
                for picture, label in shown:
                    elements.draw_captioned(st, picture, label, 130)
            st.caption("Training images as the augmentation of an epoch makes them. The next epoch varies them anew.")


def _attention(run: Run, live: bool) -> None:
    epochs, journal = pictures.attention_epochs(run.folder), run.journal
    if not epochs:
        return
    st.subheader("Where it looks")
    elements.draw_notice()
    epoch = epochs[-1]
    best = journal.best.epoch if journal.best else epoch
    if not live and len(epochs) > 1:
        first = best if best in epochs else epoch
        epoch = st.select_slider("After epoch", epochs, value=first, key=f"train_look_{run.name}")
    looked = _looked(run.folder, epoch, pictures.changed_between(run.folder, f"epoch-{epoch}"), tuple(run.classes()))
    if not looked:
        return
    with st.container(horizontal=True):
        for picture, told in looked:
            elements.draw_captioned(st, picture, told, WIDTH)
    st.caption(
        f"The same {len(looked)} validation images after epoch {epoch}{', the best' if epoch == best else ''}. "
        "Grad-CAM marks what speaks for the true class, which the caption names first; then come the probabilities, "
        "before calibration."
    )


# A live page is drawn every second, and its pictures change once an epoch.


@st.cache_data(max_entries=32, show_spinner=False)
def _shown(run: Path, changed: int) -> list[tuple[str, str]]:
    """What the network is shown: address and class of each picture."""
    images, labels = pictures.load_images(run, "augmented") or ([], [])
    return [(elements.data_address(image), label) for image, label in zip(images, labels, strict=True)]


@st.cache_data(max_entries=256, show_spinner=False)
def _looked(run: Path, epoch: int, changed: int, classes: tuple[str, ...]) -> list[tuple[str, str]]:
    """Address and caption of each watched image after an epoch; nothing where that was not kept."""
    look, watched = pictures.load_attention(run, epoch), pictures.load_images(run, "watched")
    if look is None or watched is None:
        return []
    images, labels = watched
    names = list(classes) or sorted(set(labels))
    found = []
    for image, label, probabilities, heatmaps in zip(images, labels, look.probabilities, look.heatmaps, strict=True):
        told = ", ".join(f"{name} {p:.0%}" for name, p in zip(names, probabilities, strict=False))
        picture = elements.data_address(ops.overlay(image, heatmaps[..., names.index(label)]))
        found.append((picture, f"{label}. It says: {told}"))
    return found
