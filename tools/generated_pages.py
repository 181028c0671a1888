"""`python -m tools.generated_pages [--check]`: the pages of the docs that follow from the code.

Without ``--check`` they are written; with it they are not, and one that is out of date is an error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from candlewick.cli.main import COMMANDS
from candlewick.config import Config, commented_toml
from candlewick.errors import ExitCode
from candlewick.indicators import __all__ as indicator_names
from candlewick.risk import DenialCode
from candlewick.strategies import BUILT_IN, parameters_of
from tools.metrics_page import metrics_page

__all__ = ["PAGES", "main", "outdated"]

DOCS = Path(__file__).parents[1] / "docs"

_NOTE = "<!-- Written by `python -m tools.generated_pages`; change the code, not this page. -->"


def denials() -> str:
    """The denial codes, as they stand in the journal and in results."""
    lines = [
        "# Denials",
        "",
        _NOTE,
        "",
        "A signal that does not become an order is denied with a code. The denial is in the",
        "journal with the figures that broke the rule, and counted in the result of a run.",
        "",
        "| code | what happened |",
        "|---|---|",
        *(f"| `{code}` | {code.explanation} |" for code in DenialCode),
    ]
    return _page(lines)


def configuration() -> str:
    """Every key of the configuration with its default."""
    lines = [
        "# Configuration",
        "",
        _NOTE,
        "",
        "A configuration is one TOML file. Every key has a default, so an empty file is valid;",
        "what a command line says goes over it.",
        "",
        "```sh",
        "candlewick config init             # writes candlewick.toml, every key with its comment",
        "candlewick config check            # reads it as a run would, and says what is wrong",
        "candlewick run --config candlewick.toml",
        "```",
        "",
        "A key that is not known is an error that names the nearest one. Values are checked",
        "against their types and their bounds before anything starts; exit code 2 says that they",
        "do not fit. Secrets have no key here: they come from the environment, or from a file",
        "with mode 600.",
    ]
    section = ""
    for line in commented_toml().splitlines():
        if heading := re.fullmatch(r"\[(.+)\]", line):
            section = heading[1]
            about = _first_sentence(type(getattr(Config(), section)).__doc__)
            lines += ["", f"## [{section}]", "", about, "", "| key | default | what it is |"]
            lines.append("|---|---|---|")
        elif key := re.fullmatch(r"(# )?([a-z_]+) = (.+?) +# (.+)", line):
            default = "" if key[1] else f"`{key[3]}`"
            lines.append(f"| `{section}.{key[2]}` | {default} | {_cell(key[4])} |")
    return _page(lines)


def commands() -> str:
    """The commands, their options and the exit codes."""
    lines = ["# Commands", "", _NOTE, ""]
    lines += ["Every command that prints for people prints for programs with `--json`."]
    for name, (module, about) in COMMANDS.items():
        command: Any = typer.main.get_command(import_module(f"candlewick.cli.{module}").app)
        lines += ["", f"## candlewick {name}", "", about]
        inner: dict[str, Any] = getattr(command, "commands", {})
        if not inner:
            lines += _options(command)
        for key, sub in inner.items():
            lines += ["", f"### candlewick {name} {key}", "", _first_sentence(sub.help)]
            lines += _options(sub)
    lines += ["", "## Exit codes", "", "| code | what it says |", "|---|---|"]
    lines += [f"| {int(code)} | {_EXIT[code]} |" for code in ExitCode]
    return _page(lines)


_EXIT = {
    ExitCode.OK: "done, and verified",
    ExitCode.UNEXPECTED: "an unexpected error; positions were cleaned up if there were any",
    ExitCode.BAD_INPUT: "the configuration, the data or the command line cannot be used",
    ExitCode.STRATEGY_FAILED: "the strategy raised; it was halted and its positions cleaned up",
    ExitCode.JOURNAL_UNTRUSTED: "the journal cannot be written to its end, or does not verify",
    ExitCode.VENUE_REFUSED: "the exchange refused something that trading needs",
    ExitCode.ACCOUNT_UNVERIFIED: "the account could not be verified flat or protected",
    ExitCode.NOT_RUNNING: "no engine runs that could be asked",
    ExitCode.INTERRUPTED: "interrupted in a command that holds no position",
}


def _options(command: Any) -> Iterator[str]:
    shown = [p for p in command.params if not p.name.endswith("_completion")]
    if not shown:
        return
    yield from ("", "| option | what it does |", "|---|---|")
    for option in shown:
        names = " ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
        text = option.help or ""
        if option.param_type_name == "argument":
            names = f"`{option.name.upper()}`"
        if getattr(option, "multiple", False):
            text += " May be given several times."
        yield f"| {names} | {_cell(text)} |"


def built_in() -> str:
    """The strategies and indicators that come with the package."""
    lines = ["# Built in", "", _NOTE, "", "## Strategies"]
    for name, strategy in BUILT_IN.items():
        about = "\n".join(line.strip() for line in (strategy.__doc__ or "").strip().splitlines())
        lines += ["", f"### `{name}`", "", about, "", "| parameter | default |", "|---|---|"]
        lines += [f"| `{key}` | `{value!r}` |" for key, value in parameters_of(strategy).items()]
    lines += [
        "",
        "## Indicators",
        "",
        "All are in `candlewick.indicators`. One call of `update` a candle, at a cost that does",
        "not grow with the period; the answer is `nan` until `ready`.",
        "",
        "| indicator | what it is |",
        "|---|---|",
    ]
    module = import_module("candlewick.indicators")
    for name in indicator_names:
        found = getattr(module, name)
        if hasattr(found, "update"):
            lines.append(f"| `{name}` | {_cell(_first_sentence(found.__doc__))} |")
    return _page(lines)


def metrics() -> str:
    """The metrics of a running engine."""
    return _page(metrics_page(_NOTE))


def _first_sentence(text: str | None) -> str:
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph)[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _page(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "denials.md": denials,
    "configuration.md": configuration,
    "commands.md": commands,
    "built-in.md": built_in,
    "metrics.md": metrics,
}


def outdated(folder: Path = DOCS) -> list[str]:
    """Return the names of the pages that the code would write differently."""
    return [
        name
        for name, make in PAGES.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != make()
    ]


def main(arguments: Sequence[str], folder: Path = DOCS) -> int:
    """Write the pages, or check them with ``--check``: 1 when one is out of date."""
    found = outdated(folder)
    if "--check" in arguments:
        for name in found:
            print(f"docs/{name} is out of date: run python -m tools.generated_pages")
        return int(bool(found))
    for name in found:
        (folder / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
