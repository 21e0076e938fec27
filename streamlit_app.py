"""The front door of Covid CNN: page set-up and navigation, nothing else."""

import streamlit as st

from covid_cnn.app import pages

st.set_page_config(page_title="Covid CNN", page_icon=str(pages.ICON), layout="wide")
st.navigation(list(pages.all_pages().values()), position="top").run()
