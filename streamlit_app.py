"""The front door of Covid CNN: page set-up and navigation, nothing else.

Streamlit runs this file for each session, and its server imports it once for how it is to serve.
"""

import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.shared import demo

if __name__ == "__main__":
    st.set_page_config(page_title="Covid CNN", page_icon=str(pages.ICON), layout="wide")
    page = st.navigation(list(pages.all_pages().values()), position="top")
    demo.draw_strip()
    page.run()
else:
    from covid_cnn.app.server import serving

    app = st.App(__file__, lifespan=serving.lifespan, middleware=serving.MIDDLEWARE)
