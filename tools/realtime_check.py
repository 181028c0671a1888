"""`python -m tools.realtime_check [PATH ...]`: the rules of real-time code that syntax can show.

- RT101: a blocking call in an `async def`, direct or through plain functions of the same sources.
- RT102: a time without a time zone.
- RT103: a queue without a bound.

A call that is right where it stands says why, on its line or the line above::

    journal.flush()  # realtime: allow RT101 - the loop has nothing left to do

RT100 is an allowance without a reason, or one that allows nothing.

What syntax cannot show is left to `candlewick.bus.Watchdog`, which looks while it runs: methods of
objects whose type is not written where they are called, and callbacks.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.realtime_calls import blocks, is_naive, is_unbounded, waits

__all__ = ["Finding", "check", "main"]

_ALLOW = re.compile(r"#\s*realtime:\s*allow\b\s*(RT\d{3})?(?:\s*-\s*(.*))?")
_LEAST_REASON = 10  # characters; below that it is no reason


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """One place that breaks a rule; prints as compilers do."""

    path: str
    line: int
    column: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.code} {self.message}"


@dataclass(slots=True)
class _Call:
    name: str
    node: ast.Call
    awaited: bool
    handed: bool  # to another call, which may await it


@dataclass(slots=True)
class _Function:
    """One function of the sources: what it calls, by full names."""

    name: str
    is_async: bool
    source: _Source
    calls: list[_Call] = field(default_factory=list)


@dataclass(slots=True)
class _Source:
    """One file: its imports and its allowances."""

    path: Path
    module: str
    imports: dict[str, str] = field(default_factory=dict)
    allowed: dict[int, str] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)

    def allows(self, code: str, node: ast.AST) -> bool:
        first: int = getattr(node, "lineno", 0)
        last: int = getattr(node, "end_lineno", first)
        for line in range(first - 1, last + 1):
            if self.allowed.get(line) == code:
                self.used.add(line)
                return True
        return False

    def finding(self, code: str, node: ast.AST, message: str) -> Finding:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        return Finding(str(self.path), line, column + 1, code, message)


class _Reader(ast.NodeVisitor):
    """Collects the functions of one file and all calls, with the names they go by."""

    def __init__(self, source: _Source) -> None:
        self.source = source
        self.functions: list[_Function] = []
        self.outside: list[_Call] = []  # calls that are in no function
        self._scopes: list[str] = [source.module]
        self._classes: list[str] = []
        self._function: _Function | None = None
        self._awaited: set[ast.expr] = set()
        self._handed: set[ast.expr] = set()

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            self.source.imports[bound] = alias.name if alias.asname else bound

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parts = self.source.module.split(".")
            parts = parts if self.source.path.stem == "__init__" else parts[:-1]
            parts = parts[: len(parts) - node.level + 1]
            base = ".".join([*parts, *filter(None, [base])])
        for alias in node.names:
            self.source.imports[alias.asname or alias.name] = f"{base}.{alias.name}"

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scopes.append(node.name)
        self._classes.append(".".join(self._scopes))
        self.generic_visit(node)
        self._classes.pop()
        self._scopes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._enter(node, is_async=False)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._enter(node, is_async=True)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        outer, self._function = self._function, None  # it runs where it is called, not here
        self.generic_visit(node)
        self._function = outer

    def _enter(self, node: ast.FunctionDef | ast.AsyncFunctionDef, *, is_async: bool) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._scopes.append(node.name)
        outer = self._function
        self._function = _Function(".".join(self._scopes), is_async, self.source)
        self.functions.append(self._function)
        for child in (node.args, *node.body):
            self.visit(child)
        self._function = outer
        self._scopes.pop()

    def visit_Await(self, node: ast.Await) -> None:
        self._awaited.add(node.value)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self._handed.update(node.args, (word.value for word in node.keywords))
        name = self._name_of(node.func)
        call = _Call(name, node, node in self._awaited, node in self._handed)
        (self._function.calls if self._function else self.outside).append(call)
        self.generic_visit(node)

    def _name_of(self, node: ast.expr) -> str:
        """``time.sleep`` for what imports explain, ``.method`` for what they do not."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return f".{parts[-1]}" if parts else ""
        if node.id in self.source.imports:
            return ".".join([self.source.imports[node.id], *parts])
        if node.id in ("self", "cls") and len(parts) == 1 and self._classes:
            return f"{self._classes[-1]}.{parts[0]}"
        if parts:
            return f".{parts[-1]}"
        module = "builtins" if node.id in ("input", "open") else self.source.module
        return f"{module}.{node.id}"


class _Checker:
    def __init__(self, readers: Sequence[_Reader]) -> None:
        self._readers = readers
        self._sources = {reader.source.module: reader.source for reader in readers}
        self._functions = {f.name: f for reader in readers for f in reader.functions}
        self._why: dict[str, str | None] = {}

    def findings(self) -> Iterator[Finding]:
        for reader in self._readers:
            source = reader.source
            for function in reader.functions:
                yield from self._of_calls(source, function.calls)
                if function.is_async:
                    yield from self._blocking(function)
            yield from self._of_calls(source, reader.outside)
        # plain functions too, so that what they allow counts as used
        for function in self._functions.values():
            self._reason(function.name)
        for reader in self._readers:
            yield from self._unused(reader.source)

    def _of_calls(self, source: _Source, calls: Iterable[_Call]) -> Iterator[Finding]:
        for call in calls:
            if is_naive(call.name, call.node) and not source.allows("RT102", call.node):
                message = f"{call.name} makes a time without a zone; use integer UTC ms or tz=UTC"
                yield source.finding("RT102", call.node, message)
            if is_unbounded(call.name, call.node) and not source.allows("RT103", call.node):
                message = f"{call.name} has no bound; give it a maxsize and say what overflows"
                yield source.finding("RT103", call.node, message)

    def _blocking(self, function: _Function) -> Iterator[Finding]:
        for call, why in self._blocking_calls(function):
            message = f"{why} blocks the event loop in async {function.name.rpartition('.')[2]}"
            yield function.source.finding("RT101", call.node, message)

    def _blocking_calls(self, function: _Function) -> Iterator[tuple[_Call, str]]:
        for call in function.calls:
            why = self._reason_of_call(call)
            if why and not function.source.allows("RT101", call.node):
                yield call, why

    def _reason_of_call(self, call: _Call) -> str | None:
        if blocks(call.name) and not call.awaited:
            return call.name.removeprefix("builtins.")
        if waits(call.name, call.node) and not (call.awaited or call.handed):
            return f"{call.name}, which is not awaited,"
        name = self._defined(call.name)
        if name is None:
            return None
        chain = self._reason(name)
        return f"{name.rpartition('.')[2]} -> {chain}" if chain else None

    def _defined(self, name: str) -> str | None:
        """Return the function of these sources that a name means, through re-exports."""
        for _ in range(10):
            for found in (name, f"{name}.__init__"):
                if found in self._functions:
                    return found
            module, _, rest = name.rpartition(".")
            source = self._sources.get(module)
            if source is None or rest not in source.imports:
                return None
            name = source.imports[rest]
        return None

    def _reason(self, name: str) -> str | None:
        """Return why a plain function blocks: the chain of calls down to the one that does."""
        if name not in self._why:
            self._why[name] = None  # a recursion adds no reason
            function = self._functions[name]
            if not function.is_async:
                found = [why for _, why in self._blocking_calls(function)]
                self._why[name] = found[0] if found else None
        return self._why[name]

    def _unused(self, source: _Source) -> Iterator[Finding]:
        for line in sorted(set(source.allowed) - source.used):
            code = source.allowed[line]
            message = f"nothing on this line needs `allow {code}`; remove it"
            yield Finding(str(source.path), line, 1, "RT100", message)


def _allowances(source: _Source, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        found = _ALLOW.search(line)
        if found is None:
            continue
        code, reason = found.groups()
        if code is None or len(reason or "") < _LEAST_REASON:
            message = "an allowance needs a code and a reason: # realtime: allow RT101 - why"
            yield Finding(str(source.path), number, found.start() + 1, "RT100", message)
        else:
            source.allowed[number] = code


def _module_of(path: Path) -> str:
    """Return the dotted name: folders count as packages as long as they have an ``__init__``."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts)


def check(paths: Iterable[Path]) -> list[Finding]:
    """Check files, and all ``.py`` files below folders; returns findings by file and line."""
    files = [
        file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])
    ]
    found: list[Finding] = []
    readers = []
    for file in files:
        source = _Source(file, _module_of(file))
        text = file.read_text(encoding="utf-8")
        found += _allowances(source, text)
        tree = ast.parse(text, str(file))
        reader = _Reader(source)
        # imports first, wherever they stand: a function may be above the import it uses
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                reader.visit(node)
        reader.visit(tree)
        readers.append(reader)
    return sorted([*found, *_Checker(readers).findings()])


def main(arguments: Sequence[str]) -> int:
    """Print the findings; 0 for none, 1 for some, 2 for a path that does not exist."""
    paths = [Path(argument) for argument in arguments or ["src"]]
    for path in paths:
        if not path.exists():
            print(f"no such file or folder: {path}", file=sys.stderr)
            return 2
    found = check(paths)
    for finding in found:
        print(finding)
    if found:
        print(f"{len(found)} found")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
