"""Far from its server, a browser hears late of what a click did, and no page is lost for that."""

from browsing import served
from playwright.sync_api import BrowserContext, expect

# What the server says arrives later.
LATE = """() => {
  window.WebSocket = class extends window.WebSocket {
    constructor(...of) {
      super(...of);
      super.addEventListener("message", (event) => {
        if (event.late) return;
        event.stopImmediatePropagation();
        const again = new MessageEvent("message", { data: event.data });
        again.late = true;
        setTimeout(() => this.dispatchEvent(again), 700);
      });
    }
  };
}"""
# A page that ticks, and a button to one that takes longer than a tick.
TWO_PAGES = """
import time
import streamlit as st
from covid_cnn.app import pages

@st.fragment(run_every=0.2)
def tick():
    st.write("tick")

def first():
    tick()
    if st.button("Go"):
        pages.leave_for(second_page)

def second():
    time.sleep(1.2)
    st.title("The other page")

second_page = st.Page(second, url_path="second")
st.navigation([st.Page(first, default=True), second_page]).run()
"""


def test_a_page_that_ticks_is_left_for_another_that_stays(browser: BrowserContext, tmp_path):
    (tmp_path / "two_pages.py").write_text(TWO_PAGES)
    with served(tmp_path / "two_pages.py", tmp_path) as app:
        page = browser.new_page()
        page.add_init_script(f"({LATE})()")
        page.goto(app.address)
        page.get_by_role("button", name="Go").click()
        title = page.get_by_text("The other page")
        expect(title).to_be_visible()
        page.wait_for_timeout(2500)  # a tick that came too late has been answered by now
        expect(title).to_be_visible()
        page.close()
