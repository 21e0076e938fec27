"""What the Predict page keeps of an image while it is chosen, so that nothing is read or predicted twice."""

from collections.abc import Callable
from typing import Any, TypeVar

import streamlit as st

T = TypeVar("T")
KEY = "predict_memory"


def remember(image: str, what: str, make: Callable[[], T]) -> T:
    """``make()``, made once for an image and session."""
    memory: dict[str, dict[str, Any]] = st.session_state.setdefault(KEY, {})
    kept = memory.setdefault(image, {})
    if what not in kept:
        with st.spinner("Reading and asking the model"):
            kept[what] = make()
    return kept[what]


def forget(chosen: set[str]) -> None:
    """Drop what belongs to images that are no longer chosen."""
    memory = st.session_state.get(KEY, {})
    for image in set(memory) - chosen:
        del memory[image]
