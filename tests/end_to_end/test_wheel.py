"""The wheel as others install it, beside a project that has folders named `models` and `pipelines` of its own."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PACKAGES = ("framework", "models", "pipelines")


def run(*arguments, **settings):
    done = subprocess.run([str(item) for item in arguments], capture_output=True, text=True, **settings)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # A copy: setuptools leaves `build/` and metadata where it works. The tests go along, to see that they stay behind.
    source = tmp_path_factory.mktemp("source") / "checkout"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__")
    )
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", source / "dist", source)
    (built,) = (source / "dist").iterdir()
    return built


def test_wheel_holds_the_three_packages_and_nothing_else(wheel):
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".pyi", ".json") or path.name == "py.typed"
    }
    assert {"framework/__init__.pyi", "framework/py.typed", "framework/data/augment/affine.py"} <= expected
    names = set(zipfile.ZipFile(wheel).namelist())
    metadata = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    assert names - metadata == expected
    assert {name.partition("/")[2].rpartition("/")[2] for name in metadata} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "top_level.txt",
        "LICENSE",
    }


def test_metadata(wheel):
    (name,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/METADATA"))
    metadata = zipfile.ZipFile(wheel).read(name).decode()
    assert "\nName: keras-shipyard\n" in metadata
    assert "\nRequires-Dist: tensorflow" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """A fresh environment with the wheel and this one's dependencies, but not this one's checkout."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    (site_packages,) = environment.glob("lib/python*/site-packages")
    # Folders added by a .pth file don't have their own .pth files read: an editable install stays out of sight.
    dependencies = [path for path in sys.path if pathlib.Path(path).name == "site-packages"]
    (site_packages / "dependencies.pth").write_text("\n".join(dependencies))
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet", wheel)
    where = run(python, "-c", "import framework; print(framework.__file__)", cwd=environment).strip()
    assert pathlib.Path(where) == site_packages / "framework" / "__init__.py"
    return python


MINE = """
import keras

import framework

WHOSE = "theirs"


@framework.register_model
def mine(inputs, task):
    x = keras.layers.Concatenate()([keras.layers.Flatten()(tensor) for tensor in inputs.values()])
    return task.logits(x)
"""

# Theirs before ours are loaded, after, or both; ours by name.
SCRIPT = """
import sys

import framework


def import_theirs():
    import models.mine
    import models.resnet
    import pipelines.data
    import pipelines.wine

    found = [models.mine, models.resnet, pipelines.data, pipelines.wine]
    assert {module.WHOSE for module in found} == {"theirs"}, found


def use_ours(model):
    assert {"mlp", "resnet", "small_cnn", "wide_and_deep"} <= set(framework.list_models())
    assert {"diabetes", "digits", "wine"} <= set(framework.list_pipelines())
    assert not hasattr(sys.modules[framework.get_model("resnet").__module__], "WHOSE")
    run = framework.fit(model, "wine", run_dir=sys.argv[2], epochs=1, verbose=0)
    assert run.best.epoch == 0


if sys.argv[1] == "theirs first":
    import_theirs()
    use_ours("mine")
else:
    use_ours("mlp")
import_theirs()
from models import late

assert late.WHOSE == "theirs"
assert framework.list_models("mine") == ["mine"]
print("all found")
"""


@pytest.mark.parametrize("order", ["theirs first", "ours first"])
@pytest.mark.parametrize("layout", ["packages", "plain folders"])
def test_project_with_folders_of_our_names(python, tmp_path, layout, order):
    project = tmp_path / "project"
    for name, modules in {"models": ("resnet", "late"), "pipelines": ("data", "wine")}.items():
        (project / name).mkdir(parents=True)
        for module in modules:
            (project / name / f"{module}.py").write_text('WHOSE = "theirs"\n')
        if layout == "packages":
            (project / name / "__init__.py").write_text('WHOSE = "theirs"\n')
    (project / "models" / "mine.py").write_text(MINE)
    (project / "train.py").write_text(SCRIPT)
    # Started from elsewhere: what counts is where the script lies.
    assert run(python, project / "train.py", order, tmp_path / "run", cwd=tmp_path).endswith("all found\n")
