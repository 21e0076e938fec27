"""What the tests of pages share."""

from streamlit.testing.v1 import AppTest


def settled(app: AppTest) -> AppTest:
    assert not app.exception, app.exception[0].message
    return app


def press(app: AppTest, label: str) -> AppTest:
    return settled(next(button for button in app.button if button.label == label).click().run())
