"""The home page."""

import streamlit as st


def page() -> None:
    st.title("home")
