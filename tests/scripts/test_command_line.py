"""What the scripts' command lines have in common; no TensorFlow."""

import os
import shlex
import subprocess
import sys
from typing import Literal

import command_line
import pytest
from absl import flags as absl_flags
from calling_scripts import SCRIPTS
from command_line import UsageError


def _parsed(argv, define=None):
    flags = command_line.Flags(absl_flags.FlagValues())
    if define:
        define(flags)
    command_line.define_common_flags(flags)
    return flags, command_line.parse(flags.values, ["script.py", *argv])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64),
        ("0.5", 0.5),
        ("1e-3", 1e-3),
        ("True", True),
        ("None", None),
        ("(64, 32)", (64, 32)),
        ("[1, 2]", [1, 2]),
        ("relu", "relu"),
        ("'64'", "64"),
        ("a b", "a b"),
        ("/some/path", "/some/path"),
        ("", ""),
    ],
)
def test_literal(text, value):
    assert command_line.literal(text) == value
    assert type(command_line.literal(text)) is type(value)


def test_assignments():
    assert command_line.assignments("hparam", ["width=64", "widths=(3, 4)", "name=a=b"]) == {
        "width": 64,
        "widths": (3, 4),
        "name": "a=b",
    }


@pytest.mark.parametrize("item", ["width", "=3", "my width=3", "--width=3"])
def test_assignments_of_another_form(item):
    with pytest.raises(UsageError, match="--hparam takes name=value"):
        command_line.assignments("hparam", [item])


def test_assigned_twice():
    with pytest.raises(UsageError, match="--hparam width is given twice: 3 and '4'"):
        command_line.assignments("hparam", ["width=3", "width=4"])


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "3", 3),
        (float, "3", 3),
        (float | None, "None", None),
        (int | Literal["auto"], "auto", "auto"),
        (Literal["min", "max"] | None, "max", "max"),
        (dict[int, float] | None, "{0: 1.0, 1: 2.5}", {0: 1.0, 1: 2.5}),
        (str, "3", "3"),
    ],
)
def test_value_parser(annotation, text, value):
    assert command_line.ValueParser(annotation).parse(text) == value


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        (int, "3.5", "expected int"),
        (int, "True", "expected int"),
        (float | None, "fast", "expected float or None"),
        (int | Literal["auto"], "never", "expected int or 'auto'"),
        (dict[int, float], "{'a': 1.0}", r"expected dict"),
    ],
)
def test_value_parser_refuses(annotation, text, expected):
    with pytest.raises(ValueError, match=expected):
        command_line.ValueParser(annotation).parse(text)


def test_flags_are_described_in_a_line_each_under_their_headings():
    def define(flags):
        with flags.heading("First"):
            flags.text("name", None, "A name\n  on two lines.")
            flags.texts("several", "As often as needed.")
        with flags.heading("Second"):
            flags.value("epochs", int, 50, "Passes.")
            flags.switch("stopping", True, "Never stop.")
            flags.switch("json", False, "As JSON.")
            flags.choice("phase", ("train", "test"), "test", "The split.")

    flags, _ = _parsed([], define)
    lines = flags.describe().splitlines()
    assert lines[:5] == [
        "",
        "First",
        f"  --{'name':<28} A name on two lines.",
        f"  --{'several ...':<28} As often as needed.",
        "",
    ]
    assert [line.split()[0] for line in lines[5:10]] == [
        "Second",
        "--epochs=50",
        "--nostopping",
        "--json",
        "--phase=test",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epoch=3"], "Unknown command line flag 'epoch'. Did you mean: epochs"),
        (["--epochs=three"], "flag --epochs=three: expected int"),
        (["epochs=3"], "Unexpected 'epochs=3': flags are written --name=value."),
    ],
)
def test_a_wrong_command_line_is_one_message(argv, message, capsys):
    with pytest.raises(SystemExit) as exited:
        _parsed(argv, lambda flags: flags.value("epochs", int, 50, "Passes."))
    assert exited.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def _raising(error):
    def main(values, arguments):
        raise error

    return main


def test_exit_codes(capsys):
    flags, arguments = _parsed([])
    assert command_line.call(lambda values, arguments: None, flags.values, arguments) == 0
    assert command_line.call(_raising(OSError(28, "No space left", "/data")), flags.values, arguments) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: [Errno 28] No space left: '/data'",
        "(--debug shows where this comes from)",
    ]
    assert command_line.call(_raising(KeyboardInterrupt()), flags.values, arguments) == 130


_TALKS = """
import command_line

def main(values, arguments):
    for number in range(100_000):
        print(number)

command_line.run(main, lambda flags: None)
"""


def test_who_has_read_enough_gets_no_traceback(tmp_path):
    (tmp_path / "talks.py").write_text(_TALKS)
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    command = f"{shlex.quote(sys.executable)} talks.py | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "0\n", "")


def test_a_usage_error_needs_no_traceback(capsys):
    flags, arguments = _parsed([])

    def main(values, arguments):
        command_line.assignments("hparam", ["width"])

    assert command_line.call(main, flags.values, arguments) == 2
    assert capsys.readouterr().err == "error: --hparam takes name=value, such as --hparam width=64. Got 'width'.\n"


def test_a_bug_keeps_its_traceback():
    flags, arguments = _parsed([])
    with pytest.raises(ValueError, match="invalid literal"):
        command_line.call(lambda values, arguments: int("x"), flags.values, arguments)


def test_debug_keeps_every_traceback():
    flags, arguments = _parsed(["--debug"])
    with pytest.raises(OSError, match="No space left"):
        command_line.call(_raising(OSError(28, "No space left")), flags.values, arguments)


def test_require_names_every_missing_flag():
    flags, _ = _parsed([], lambda flags: [flags.text(name, None, "") for name in ("model", "run_dir")])
    with pytest.raises(UsageError, match="--model and --run_dir must be given; see there"):
        command_line.require(flags.values, "model", "run_dir", hint="see there")


def test_import_modules_finds_what_lies_in_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "beside_me.py").write_text("VALUE = 7\nclass Thing: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    command_line.import_modules(["beside_me"])
    assert sys.modules.pop("beside_me").VALUE == 7
    assert command_line.import_object("callback", "beside_me:Thing").__name__ == "Thing"
    with pytest.raises(UsageError, match="the module beside_me has no 'Thong'"):
        command_line.import_object("callback", "beside_me:Thong")
    del sys.modules["beside_me"]


def test_import_of_what_is_not_there():
    with pytest.raises(UsageError, match="there is no module 'my_package' in "):
        command_line.import_modules(["my_package.models"])
    with pytest.raises(UsageError, match=r"Write --import somewhere\.mine\."):
        command_line.import_modules(["somewhere/mine.py"])
    with pytest.raises(UsageError, match="--callback takes module:name"):
        command_line.import_object("callback", "my_module")


def test_what_a_module_lacks_itself_is_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "lacks.py").write_text("import not_installed_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ModuleNotFoundError, match="not_installed_at_all"):
        command_line.import_modules(["lacks"])


def test_table():
    rows = [("loss", 0.0351234), ("accuracy", 1.0), ("steps", 120)]
    assert command_line.table(rows).splitlines() == ["  loss      0.0351", "  accuracy  1.0000", "  steps        120"]
    assert command_line.table([("a", "b"), ("long", "c", "d")], indent="") == "a     b\nlong  c  d"


def test_numbers_of_a_table():
    rows = [(0.0,), (1e-5,), (-2.5e6,), (float("nan"),)]
    assert command_line.table(rows, indent="").split() == ["0.0000", "1.000e-05", "-2.500e+06", "nan"]
