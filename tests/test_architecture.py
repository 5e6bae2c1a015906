"""What the code may depend on, read from its syntax trees."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("framework", "models", "pipelines")

# In the order in which an example meets them; a part may import those above it and itself.
LAYERS = (
    ("features", "media", "registry", "files", "plugins", "extras", "variables", "report"),
    ("tasks",),
    ("data",),
    ("building",),
    ("export",),
    ("serving",),
    ("callbacks",),
    ("training",),
    ("search",),
    ("testing",),
)
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
PRIVATE = (
    "keras.src",
    "keras.backend.tensorflow",
    "keras_tuner.src",
    "tensorflow.python",
    "tensorflow.core",
    "tf.python",
)
VAGUE = ("utils", "util", "helpers", "helper", "common", "misc", "base", "core")


def modules(*packages):
    """(dotted name, syntax tree) of every module; a package has the name of its `__init__`."""
    for package in packages or PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name, ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(name, tree):
    """Absolute dotted names of all that a module imports, wherever in it and with the names taken from a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".")[: -node.level] if node.level else []
            origin = ".".join([*package, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def chains(tree):
    """Dotted names such as `keras.src.utils` wherever they are used."""
    for node in ast.walk(tree):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if parts and isinstance(node, ast.Name):
            yield ".".join([node.id, *reversed(parts)])


def is_within(name, *places):
    return any(name == place or name.startswith(f"{place}.") for place in places)


def part_of(name):
    """`"data"` of `framework.data.train`."""
    return name.split(".")[1]


def is_an_ascent(importer, imported):
    """Whether a module of the framework imports one that comes after it."""
    if not imported.startswith("framework."):
        return False
    if part_of(importer) == "report":  # pictures of plain arrays; whoever has the arrays calls it
        return part_of(imported) not in ("report", "files")
    return RANK.get(part_of(imported), -1) > RANK[part_of(importer)]


def test_the_checks_see_what_they_look_for():
    tree = ast.parse(
        "import keras.src.utils as u\n"
        "from . import splits\n"
        "from ..training import fit\n"
        "def f():\n"
        "    from framework.export import versions\n"
        "    return tf.python.framework.ops\n"
    )
    found = list(imports("framework.data.pipeline", tree))
    assert sorted(found) == [
        "framework.data.splits",
        "framework.export.versions",
        "framework.training.fit",
        "keras.src.utils",
    ]
    assert [name for name in found if is_an_ascent("framework.data.pipeline", name)] == [
        "framework.training.fit",
        "framework.export.versions",
    ]
    assert is_an_ascent("framework.report.curves", "framework.features")
    assert not is_an_ascent("framework.report.canvas", "framework.files")
    assert not is_an_ascent("framework.testing.checks", "framework.training.fit")
    assert any(is_within(name, *PRIVATE) for name in chains(tree))
    assert {name for name, _ in modules()} >= {"framework.__init__", "framework.data.train", "models.mlp"}


def test_every_part_of_the_framework_has_its_place():
    parts = {part_of(name) for name, _ in modules("framework")} - {"__init__"}
    assert sorted(parts - set(RANK)) == []


def test_imports_point_one_way():
    ascents = [
        f"{name} imports {imported}"
        for name, tree in modules("framework")
        for imported in imports(name, tree)
        if name != "framework.__init__" and is_an_ascent(name, imported)
    ]
    assert ascents == []


def test_the_framework_uses_nothing_of_its_own_public_name_but_the_version():
    # `import framework` inside of it would make every part depend on all others.
    used = {
        chain
        for name, tree in modules("framework")
        if not is_within(name, "framework.testing") and "framework" in imports(name, tree)
        for chain in chains(tree)
        if is_within(chain, "framework")
    }
    assert used <= {"framework.__version__"}


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("framework", ("models", "pipelines", "scripts", "tests")),
        ("models", ("pipelines", "scripts", "tests")),
        ("pipelines", ("models", "scripts", "tests")),
    ],
)
def test_packages_know_only_the_framework(package, forbidden):
    found = [
        f"{name} imports {imported}"
        for name, tree in modules(package)
        for imported in imports(name, tree)
        if is_within(imported, *forbidden)
    ]
    assert found == []


def test_only_public_modules_of_keras_and_tensorflow():
    found = [
        f"{name} uses {used}"
        for name, tree in modules()
        for used in (*imports(name, tree), *chains(tree))
        if is_within(used, *PRIVATE)
    ]
    assert found == []


def test_errors_of_users_are_never_asserted():
    found = [
        f"{name}:{node.lineno}" for name, tree in modules() for node in ast.walk(tree) if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_no_module_is_named_for_nothing():
    assert [name for name, _ in modules() if set(name.split(".")) & set(VAGUE)] == []


def test_every_module_says_what_it_is_for():
    assert [name for name, tree in modules() if not ast.get_docstring(tree)] == []
