"""What every script's command line has in common: flags under headings, values from text, errors as one message.

A script has `define_flags(flags)` and `main(values, arguments)` and ends with

    if __name__ == "__main__":
        command_line.run(main, define_flags)
"""

import ast
import contextlib
import difflib
import importlib
import itertools
import logging
import os
import pathlib
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import typeguard
from absl import app
from absl import flags as absl_flags
from absl import logging as absl_logging

# Before a script imports TensorFlow: its start-up notes aren't for the reader of a script's output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

USER_ERROR = 2
INTERRUPTED = 130
_SCRIPTS = pathlib.Path(__file__).resolve().parent
# Where a LookupError, ValueError or TypeError is a message to the user; raised elsewhere it is a bug to be traced.
_OURS = ("framework", "models", "pipelines", "keras_shipyard_models", "keras_shipyard_pipelines")


class UsageError(ValueError):
    """The command line asks for something that can't be."""


class Flags:
    """The flags of one script, under headings for `--helpshort`.

    Args:
        values: Where absl keeps them.
    """

    def __init__(self, values: absl_flags.FlagValues):
        self.values = values
        self.headings: dict[str, list[str]] = {}

    @contextlib.contextmanager
    def heading(self, title: str) -> Iterator[None]:
        """Puts the flags defined inside under `title`."""
        before = set(self.values)
        yield
        self.headings[title] = [name for name in self.values if name not in before]

    def text(self, name: str, default: str | None, help: str) -> None:
        absl_flags.DEFINE_string(name, default, help, flag_values=self.values)

    def texts(self, name: str, help: str) -> None:
        """A flag that may be given several times."""
        absl_flags.DEFINE_multi_string(name, [], help, flag_values=self.values)

    def choice(self, name: str, choices: Sequence[str], default: str | None, help: str) -> None:
        absl_flags.DEFINE_enum(name, default, choices, help, flag_values=self.values)

    def imports(self) -> None:
        """`--import`, for `import_own`."""
        self.texts("import", "A module of yours to import first: its decorators register. As often as needed.")

    def switch(self, name: str, default: bool, help: str) -> None:
        absl_flags.DEFINE_boolean(name, default, help, flag_values=self.values)

    def value(self, name: str, annotation: Any, default: Any, help: str) -> None:
        """A flag whose text is a Python literal, or a word, that fits a type annotation."""
        parser = ValueParser(annotation)
        absl_flags.DEFINE(parser, name, default, help, self.values, absl_flags.ArgumentSerializer())

    def describe(self) -> str:
        """One line for each flag, under the headings."""
        lines = []
        for title, names in self.headings.items():
            lines += ["", title, *(_flag_line(self.values[name]) for name in names)]
        return "\n".join(lines)


def _flag_line(flag: absl_flags.Flag) -> str:
    name = flag.name
    if flag.boolean:
        name = f"no{name}" if flag.default else name
    elif isinstance(flag, absl_flags.MultiFlag):
        name = f"{name} ..."
    elif flag.default is not None:
        name = f"{name}={flag.default}"
    help = " ".join(flag.help.split()).removesuffix("; repeat this option to specify a list of values")
    return f"  --{name:<28} {help}"


class ValueParser(absl_flags.ArgumentParser):
    """Parses a Python literal, or a word, that fits a type annotation such as `int | Literal["auto"]`."""

    def __init__(self, annotation: Any):
        super().__init__()
        self._annotation = annotation

    def parse(self, argument: Any) -> Any:
        for value in (literal(argument), argument):
            if _fits(value, self._annotation):
                return value
        raise ValueError(f"expected {describe_type(self._annotation)}")

    def flag_type(self) -> str:
        return describe_type(self._annotation)


def _fits(value: Any, annotation: Any) -> bool:
    if isinstance(value, bool) and annotation is not bool:  # True is an int to Python, not to a person
        return False
    try:
        typeguard.check_type(value, annotation)
    except typeguard.TypeCheckError:
        return False
    return True


def describe_type(annotation: Any) -> str:
    """An annotation in words, without what can't be written on a command line."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        writable = [part for part in arguments if not getattr(part, "__module__", "").startswith("keras")]
        return " or ".join(map(describe_type, writable))
    return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def literal(text: Any) -> Any:
    """The Python literal that a text is (`64`, `0.5`, `(64, 32)`, `True`, `None`), or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return text


def assignments(flag: str, items: Iterable[str]) -> dict[str, Any]:
    """`{name: value}` of a flag given several times as `--flag name=value`.

    Raises:
        UsageError: One isn't of that form, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--{flag} takes name=value, such as --{flag} width=64. Got {item!r}.")
        if name in found:
            raise UsageError(f"--{flag} {name} is given twice: {found[name]!r} and {text!r}.")
        found[name] = literal(text)
    return found


def import_own(values: absl_flags.FlagValues) -> None:
    """Imports what `--import` names."""
    import_modules(getattr(values, "import"))


def import_modules(names: Iterable[str], *, flag: str = "import") -> None:
    """Imports a person's own modules, which register their models and pipelines; the current directory comes first.

    Raises:
        UsageError: There is no such module. What goes wrong inside of one is shown with its traceback.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            hint = f" Write --{flag} {name.removesuffix('.py').replace('/', '.')}." if name.endswith(".py") else ""
            raise UsageError(
                f"--{flag} {name}: there is no module {error.name!r} in {os.getcwd()} or among what is installed.{hint}"
            ) from error


def import_object(flag: str, place: str) -> Any:
    """What `module:name` names.

    Raises:
        UsageError: It isn't of that form, or there is no such thing.
    """
    module, colon, name = place.partition(":")
    if not colon:
        raise UsageError(f"--{flag} takes module:name, such as my_package.my_module:MyClass. Got {place!r}.")
    import_modules([module], flag=flag)
    if not hasattr(sys.modules[module], name):
        raise UsageError(f"--{flag} {place}: the module {module} has no {name!r}.")
    return getattr(sys.modules[module], name)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`" Did you mean 'width'?"`, or nothing when no name is near."""
    near = difflib.get_close_matches(name, list(names), n=3)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def require(values: absl_flags.FlagValues, *names: str, hint: str = "--helpshort lists all flags.") -> None:
    """Checks that flags were given.

    Raises:
        UsageError: One wasn't.
    """
    missing = [f"--{name}" for name in names if values[name].value is None]
    if missing:
        raise UsageError(f"{' and '.join(missing)} must be given; {hint}")


def table(rows: Sequence[Sequence[Any]], *, indent: str = "  ") -> str:
    """Rows as aligned columns; those with numbers in them to the right."""
    columns = []
    for values in itertools.zip_longest(*rows, fillvalue=""):
        texts = [_number(value) if isinstance(value, float) else str(value) for value in values]
        is_number = any(isinstance(value, int | float) for value in values)
        width = max(map(len, texts))
        columns.append([text.rjust(width) if is_number else text.ljust(width) for text in texts])
    return "\n".join(f"{indent}{'  '.join(cells)}".rstrip() for cells in zip(*columns, strict=True))


def _number(value: float) -> str:
    """Four decimals, or four digits where those would say little."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3e}"


Main = Callable[[absl_flags.FlagValues, list[str]], None]


def run(main: Main, define_flags: Callable[[Flags], None], *, arguments: str | None = None) -> None:
    """Runs a script: parses its command line, calls `main(values, arguments)`, and exits.

    Args:
        main: Takes the flags' values and what remains of the command line.
        define_flags: Defines the script's flags.
        arguments: What may remain, in a word for `--helpshort`; by default nothing may.
    """
    flags = Flags(absl_flags.FLAGS)
    app.define_help_flags()
    define_flags(flags)
    define_common_flags(flags)
    usage = f"usage: python {os.path.relpath(sys.argv[0])} --flag=value ... {arguments or ''}".rstrip()
    doc = (sys.modules["__main__"].__doc__ or "").strip()
    for name, short_name in (("help", "?"), ("helpshort", "h")):
        flags.values[name] = _Help(name, short_name, f"{doc}\n\n{usage}\n{flags.describe()}")
    _quiet_tensorflow()
    app.run(
        lambda remaining: call(main, flags.values, remaining),
        flags_parser=lambda argv: parse(flags.values, argv, arguments=arguments),
    )


def define_common_flags(flags: Flags) -> None:
    """What every script has."""
    with flags.heading("When something is wrong"):
        flags.switch("debug", False, "Show the traceback of every error.")


def _quiet_tensorflow() -> None:
    """Leaves of the log what the framework says, and TensorFlow's warnings."""
    logging.getLogger("tensorflow").setLevel(logging.WARNING)
    handler = absl_logging.get_absl_handler()
    handler.addFilter(
        lambda record: record.levelno > logging.INFO or f"{os.sep}tensorflow{os.sep}" not in record.pathname
    )


class _Help(absl_flags.BooleanFlag):
    """`--help` and `--helpshort`: the script's own flags, one line each."""

    def __init__(self, name: str, short_name: str, text: str):
        super().__init__(name, False, "Show the script's flags.", short_name, allow_override=True)
        self._text = text

    def parse(self, argument: Any) -> None:
        super().parse(argument)
        if self.value:
            print(self._text)
            sys.exit(0)


def parse(values: absl_flags.FlagValues, argv: Sequence[str], *, arguments: str | None = None) -> list[str]:
    """Parses flags; returns what remains. Exits with a message where they are wrong."""
    try:
        remaining = values(argv)[1:]
        if remaining and arguments is None:
            raise absl_flags.Error(f"Unexpected {' '.join(remaining)!r}: flags are written --name=value.")
    except absl_flags.Error as error:
        _say(f"error: {error}")
        sys.exit(USER_ERROR)
    return remaining


def call(main: Main, values: absl_flags.FlagValues, arguments: list[str]) -> int:
    """Calls `main`; returns the exit code, after a message where the user, and not this program, was wrong."""
    try:
        main(values, arguments)
    except KeyboardInterrupt:
        _say("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if values.debug or not _is_message(error):
            raise
        _say(f"error: {error}", *([] if isinstance(error, UsageError) else ["(--debug shows where this comes from)"]))
        return USER_ERROR
    return 0


def _is_message(error: Exception) -> bool:
    """Whether an error was raised to tell the user something, and not by a mistake of the program."""
    if isinstance(error, OSError):
        return True
    raised_in = list(traceback.walk_tb(error.__traceback__))[-1][0]
    module = raised_in.f_globals.get("__name__", "")
    ours = module.partition(".")[0] in _OURS or pathlib.Path(raised_in.f_code.co_filename).parent == _SCRIPTS
    kinds = (LookupError, ValueError, TypeError, ImportError, RuntimeError, ArithmeticError)
    return ours and isinstance(error, kinds)


def _say(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)
