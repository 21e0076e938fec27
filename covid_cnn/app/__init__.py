"""The web app: a folder a page, and what pages share. Alone knows Streamlit."""
