"""The floors of the house: imports go down only, and whoever does not train never loads TensorFlow."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import covid_cnn

ROOT = Path(covid_cnn.__file__).parent.parent
LONGEST = 450  # lines that a module may have


def modules(folder: str) -> set[str]:
    """The modules in a folder of the package, by their dotted names; codec is a script for a process of its own."""
    path = [str(ROOT / "covid_cnn" / folder)]
    found = pkgutil.walk_packages(path, f"covid_cnn.{folder}.")
    return {module.name for module in found if not module.ispkg} - {"covid_cnn.images.codec"}


def loaded_by(modules: set[str], of: set[str]) -> set[str]:
    """Which of the packages ``of`` a fresh interpreter has loaded after importing modules of covid_cnn."""
    imports = "".join(f"import {name}\n" for name in sorted(modules))
    script = f"import sys\n{imports}print(*({of!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_import_contracts_are_kept():
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


def test_the_app_loads_no_tensorflow():
    app = modules("app")
    assert {
        f"covid_cnn.app.{page}.page" for page in ("start", "predict", "train", "dataset", "evaluate", "tour")
    } <= app
    assert loaded_by(app, {"tensorflow", "keras", "streamlit"}) == {"streamlit"}


def test_the_floors_below_load_neither_tensorflow_nor_streamlit():
    below = set().union(*map(modules, ("common", "images", "data", "models", "runs", "evaluation", "reports")))
    assert len(below) > 30
    assert loaded_by(below, {"tensorflow", "keras", "streamlit"}) == set()


def test_predicting_starts_light():
    heavy = {"tensorflow", "keras", "streamlit", "scipy", "sklearn", "matplotlib", "pandas", "pydicom", "kagglehub"}
    assert loaded_by({"covid_cnn.cli", "covid_cnn.models.bundle", "covid_cnn.images.reader"}, heavy) == set()


def test_the_server_starts_light():
    heavy = {"tensorflow", "pandas", "altair", "matplotlib", "scipy", "sklearn", "cv2", "pydicom"}
    assert loaded_by({"covid_cnn.app.pages", "covid_cnn.app.server.serving"}, heavy) == set()


def test_no_module_is_long():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in ROOT.glob("covid_cnn/**/*.py")}
    assert not {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > LONGEST}
