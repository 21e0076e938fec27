"""The predict page."""

import streamlit as st


def page() -> None:
    st.title("predict")
