"""What a run is shown, and where it looks in a few validation images while it learns."""

import streamlit as st

from covid_cnn import figures, pictures
from covid_cnn.app import shared
from covid_cnn.app.shared import plain
from covid_cnn.runs import Run

WIDTH = 220  # pixels of a picture


def draw(run: Run, live: bool) -> None:
    """The pictures that the run has kept: of the newest epoch while it is ``live``, then of any."""
    _attention(run, live)
    if kept := pictures.images(run.folder, "augmented"):
        with st.expander("What the network is shown", icon=":material/photo_library:"):
            with st.container(horizontal=True):
                for picture, label in zip(*kept, strict=True):
                    st.image(shared.address_of(picture), caption=plain(label), width=130)
            st.caption("Training images as the augmentation of an epoch makes them. The next epoch varies them anew.")


def _attention(run: Run, live: bool) -> None:
    epochs, watched = pictures.epochs(run.folder), pictures.images(run.folder, "watched")
    if not epochs or watched is None:
        return
    st.subheader("Where it looks")
    shared.notice()
    epoch = epochs[-1]
    if not live and len(epochs) > 1:
        epoch = st.select_slider("After epoch", epochs, value=epoch, key=f"train_look_{run.name}")
    look = pictures.look(run.folder, epoch)
    if look is None:
        return
    images, labels = watched
    classes = run.classes() or sorted(set(labels))
    with st.container(horizontal=True):
        for image, label, probabilities, heatmaps in zip(
            images, labels, look.probabilities, look.heatmaps, strict=True
        ):
            told = ", ".join(f"{name} {p:.0%}" for name, p in zip(classes, probabilities, strict=False))
            heatmap = heatmaps[..., classes.index(label)]
            picture = shared.address_of(figures.overlay(image, heatmap))
            st.image(picture, caption=plain(f"{label}. It says: {told}"), width=WIDTH)
    st.caption(
        f"The same {len(images)} validation images after epoch {epoch}. Grad-CAM marks what speaks for the true class, "
        "which the caption names first; then come the probabilities, before calibration."
    )
