"""The package as pip installs it: what it needs is what requirements.txt pins, and a light install predicts."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from covid_cnn.data import synthetic

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(lines: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines)
    return {re.sub(r"[._-]+", "-", match[0]).lower() for match in found if match}


def test_the_package_needs_what_requirements_pin():
    pinned = [line for line in (ROOT / "requirements.in").read_text().splitlines() if line[:1].isalpha()]
    assert all(re.match(r"\S+==\S+.*  # \w", line) for line in pinned), "each with its version and its reason"
    extras = PROJECT["optional-dependencies"]
    dev = (ROOT / "requirements-dev.in").read_text().splitlines() + (ROOT / "constraints.txt").read_text().splitlines()
    assert names(extras["cluster"]) <= names(dev), "what the tests of clusters run with"
    assert names(pinned) == names([*PROJECT["dependencies"], *extras["app"], *extras["train"]])


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Install the package with some of its extras into an environment of its own, and return its folder of commands."""

    def install(extras: str) -> Path:
        folder = tmp_path_factory.mktemp("install")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        uv, python = Path(sys.executable).with_name("uv"), folder / "bin" / "python"
        pip = [str(uv), "pip", "install", "--quiet", "--python", str(python)]
        source = folder / "source"
        for name in ("covid_cnn", "models", ".streamlit"):
            shutil.copytree(ROOT / name, source / name)
        for name in ("streamlit_app.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source / name)
        done = subprocess.run([*pip, f"{source}{extras}"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return folder / "bin"

    return install


PAGES = """
import importlib.util
import json
from streamlit.testing.v1 import AppTest
from covid_cnn.app.start.page import SAMPLE
from covid_cnn.models.bundle import DEFAULT_MODEL
assert importlib.util.find_spec("tensorflow") is None
for page in ("start", "predict", "train", "evaluate", "dataset", "tour"):
    app = AppTest.from_string(f"from covid_cnn.app.{page}.page import draw_page; draw_page()", default_timeout=120)
    if page == "predict":
        app.session_state[SAMPLE] = "covid_severe"
    app.run()
    assert not app.exception and not app.error, (page, app.exception, app.error)
    answers = [html.proto.body for html in app.get("html") if f"{DEFAULT_MODEL} says" in html.proto.body]
    print(json.dumps([page, [box.value for box in app.info], len(answers)]))
"""


def run(command: Path, *arguments: object, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"COVID_CNN_HOME": str(home), "PATH": "", "HOME": str(home)}
    return subprocess.run(
        [str(command), *map(str, arguments)], env=environment, cwd="/", capture_output=True, text=True
    )


def test_a_light_install_predicts_anywhere_with_the_shipped_models(installed, tmp_path):
    folder = installed("")
    covid_cnn, python = folder / "covid-cnn", folder / "python"
    drawn = tmp_path / "drawn.png"
    synthetic.write_png(drawn, synthetic.draw_radiograph(0, opacities=True))
    told = run(covid_cnn, "predict", drawn, "--json", home=tmp_path)
    (row,) = json.loads(told.stdout)
    assert row["path"] == str(drawn) and not row["error"]
    shipped = {path.parent.name for path in (ROOT / "models").glob("*/model.json")}
    listed = json.loads(run(covid_cnn, "models", "--json", home=tmp_path).stdout)
    assert {model["name"] for model in listed} == shipped
    heavy = "import importlib.util as u; print([n for n in ('tensorflow', 'streamlit') if u.find_spec(n)])"
    assert run(python, "-c", heavy, home=tmp_path).stdout.strip() == "[]"
    assert "pip install 'covid-cnn[app]'" in run(covid_cnn, "app", home=tmp_path).stderr
    data = tmp_path / "data" / "drawn"
    synthetic.write_dataset(data, counts={"train": 3, "val": 3, "test": 3}, size=64)
    assert "pip install 'covid-cnn[train]'" in run(covid_cnn, "train", "--data", "drawn", home=tmp_path).stderr
    audited = run(covid_cnn, "data", "audit", "drawn", "--json", home=tmp_path)
    assert audited.returncode == 0, audited.stderr
    evaluated = run(covid_cnn, "evaluate", "--data", "drawn", "--model", "notebook_cnn", "--json", home=tmp_path)
    assert json.loads(evaluated.stdout)["n"] == 6, evaluated.stderr


def test_the_app_without_training_says_how_to_get_it_and_does_all_else(installed, tmp_path):
    python = installed("[app]") / "python"
    synthetic.write_dataset(tmp_path / "data" / "drawn", counts={"train": 3, "val": 3, "test": 3}, size=64)
    drawn = run(python, "-c", PAGES, home=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    pages = {page: (told, answers) for page, told, answers in map(json.loads, drawn.stdout.splitlines())}
    assert pages.keys() == {"start", "predict", "train", "evaluate", "dataset", "tour"}
    assert "pip install 'covid-cnn[app,train]'" in pages["train"][0][0]
    assert pages["predict"] == ([], 1)
