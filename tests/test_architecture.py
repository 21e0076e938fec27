"""The three floors: imports go down only, and whoever does not train never loads TensorFlow."""

import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import covid_cnn

ROOT = Path(covid_cnn.__file__).parent.parent
WORKSHOP = {
    "networks",
    "lungs",
    "training",
    "gradcam",
    "export",
    "attention",
    "embeddings",
    "fine_tuning",
    "devices",
    "scalars",
}
MODULES = {module.name for module in pkgutil.iter_modules(covid_cnn.__path__) if not module.ispkg}
APP = {module.name for module in pkgutil.iter_modules([str(ROOT / "covid_cnn" / "app")])}
GROUND_FLOOR = MODULES - WORKSHOP - {"cli", "__main__", "codec_worker"}  # the last is a script for a process of its own


def loaded_by(modules: set[str], of: set[str]) -> set[str]:
    """Which of the packages ``of`` a fresh interpreter has loaded after importing modules of covid_cnn."""
    imports = "".join(f"import covid_cnn.{name}\n" for name in sorted(modules))
    script = f"import sys\n{imports}print(*({of!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_import_contracts_are_kept():
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


def test_every_module_stands_on_a_floor():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    ground, _, workshop = ({name.removeprefix("covid_cnn.") for name in c["source_modules"]} for c in contracts)
    assert (ground, workshop) == (GROUND_FLOOR, WORKSHOP)
    for floor in (contracts[0], contracts[1]):
        assert {f"covid_cnn.{name}" for name in WORKSHOP} <= set(floor["forbidden_modules"])


def test_the_app_loads_no_tensorflow():
    assert {"home", "predict", "train", "dataset", "evaluate", "tour"} <= APP
    loaded = loaded_by({f"app.{name}" for name in APP}, {"tensorflow", "keras", "streamlit"})
    assert loaded == {"streamlit"}


def test_the_ground_floor_loads_neither_tensorflow_nor_streamlit():
    assert {"imaging", "synthetic", "datasets", "audit", "bundle", "evaluation", "figures", "report"} <= GROUND_FLOOR
    assert loaded_by(GROUND_FLOOR, {"tensorflow", "keras", "streamlit"}) == set()


def test_predicting_starts_light():
    heavy = {"tensorflow", "keras", "streamlit", "scipy", "sklearn", "matplotlib", "pandas", "pydicom", "kagglehub"}
    assert loaded_by({"cli", "bundle", "imaging"}, heavy) == set()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_only_the_app_knows_streamlit(name):
    source = (ROOT / "covid_cnn" / f"{name}.py").read_text(encoding="utf-8")
    assert not re.search(r"^\s*(import|from) streamlit", source, re.MULTILINE)
