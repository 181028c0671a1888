"""Which calls block, make a naive time, or make a queue without a bound."""

from __future__ import annotations

import ast

__all__ = ["blocks", "is_naive", "is_unbounded", "waits"]

# Modules of which every call waits for disk, network or another process.
_MODULES = (
    "bz2", "dbm", "ftplib", "gzip", "http.client", "imaplib", "lzma", "poplib", "requests",
    "shelve", "shutil", "smtplib", "sqlite3", "subprocess", "tarfile", "telnetlib",
    "urllib.request", "urllib3", "zipfile",
)  # fmt: skip

_IN_MODULES = {
    "asyncio": ("run",),
    "builtins": ("input", "open"),
    "httpx": ("delete", "get", "head", "patch", "post", "put", "request", "stream", "Client"),
    "io": ("open", "open_code", "FileIO"),
    "numpy": ("fromfile", "genfromtxt", "load", "loadtxt", "save", "savetxt", "savez"),
    "os": (
        "access", "chmod", "copy_file_range", "fdatasync", "fsync", "ftruncate", "link", "listdir",
        "lockf", "lstat", "makedirs", "mkdir", "open", "popen", "posix_fallocate", "pread",
        "pwrite", "read", "remove", "removedirs", "rename", "renames", "replace", "rmdir",
        "scandir", "sendfile", "stat", "symlink", "sync", "system", "truncate", "unlink", "utime",
        "wait", "wait3", "wait4", "waitpid", "walk", "write",
    ),
    "os.path": ("exists", "getmtime", "getsize", "isdir", "isfile", "realpath", "samefile"),
    "polars": ("read_csv", "read_json", "read_ndjson", "read_parquet", "scan_csv", "scan_parquet"),
    "select": ("epoll", "poll", "select"),
    "signal": ("pause", "sigtimedwait", "sigwait", "sigwaitinfo"),
    "socket": (
        "create_connection", "create_server", "getaddrinfo", "getfqdn", "gethostbyaddr",
        "gethostbyname", "gethostbyname_ex", "getnameinfo", "socket", "socketpair",
    ),
    "tempfile": ("NamedTemporaryFile", "TemporaryDirectory", "TemporaryFile", "mkdtemp", "mkstemp"),
    "time": ("sleep",),
    "tomllib": ("load",),
    "json": ("dump", "load"),
    "pickle": ("dump", "load"),
}  # fmt: skip

# Methods that touch the disk on whatever has a method of that name: `pathlib.Path`, mostly.
_METHODS = {
    "exists", "expanduser", "fdatasync", "fsync", "glob", "hardlink_to", "is_dir", "is_file",
    "iterdir", "lstat", "mkdir", "read_bytes", "read_text", "rglob", "rmdir", "stat", "symlink_to",
    "touch", "unlink", "write_bytes", "write_text",
    "run_forever", "run_until_complete",
}  # fmt: skip

# Methods that wait for a thread or a lock, unless they are awaited: asyncio has the same names.
_WAITS = {"acquire", "join", "wait"}

_QUEUES = {
    "asyncio": ("LifoQueue", "PriorityQueue", "Queue"),
    "multiprocessing": ("JoinableQueue", "Queue"),
    "queue": ("LifoQueue", "PriorityQueue", "Queue"),
}
_BOUNDLESS = {"asyncio.SimpleQueue", "multiprocessing.SimpleQueue", "queue.SimpleQueue"}

_ALWAYS_NAIVE = {
    "datetime.date.fromtimestamp", "datetime.date.today", "datetime.datetime.today",
    "datetime.datetime.utcfromtimestamp", "datetime.datetime.utcnow", "time.ctime",
    "time.localtime", "time.mktime",
}  # fmt: skip

# Position of the time zone among the arguments.
_ZONE = {
    "datetime.datetime": ("tzinfo", 7),
    "datetime.datetime.fromtimestamp": ("tz", 1),
    "datetime.datetime.now": ("tz", 0),
}


def blocks(name: str) -> bool:
    """Whether a call of this full name, such as ``time.sleep``, or of ``.method``, blocks."""
    if name.startswith("."):
        return name[1:] in _METHODS
    if any(name.startswith(f"{module}.") for module in _MODULES):
        return True
    module, _, function = name.rpartition(".")
    return function in _IN_MODULES.get(module, ())


def waits(name: str, call: ast.Call) -> bool:
    """Whether ``.method`` waits for a thread or a lock; only asked where nobody awaits it.

    Arguments that rule the wait out are known: ``", ".join(parts)``, ``acquire(blocking=False)``.
    """
    if not name.startswith(".") or name[1:] not in _WAITS:
        return False
    first = call.args[0] if call.args else None
    if name == ".join" and first is not None:
        return isinstance(first, ast.Constant) and isinstance(first.value, int | float)
    keywords = [word.value for word in call.keywords if word.arg == "blocking"]
    never = [value for value in (first, *keywords) if isinstance(value, ast.Constant)]
    return not any(value.value is False for value in never)


def is_naive(name: str, call: ast.Call) -> bool:
    """Whether the call makes a time without a time zone, or one of the machine's own zone."""
    if name in _ALWAYS_NAIVE:
        return True
    if name not in _ZONE:
        return False
    keyword, position = _ZONE[name]
    found = _argument(call, keyword, position)
    return found is None or (isinstance(found, ast.Constant) and found.value is None)


def is_unbounded(name: str, call: ast.Call) -> bool:
    """Whether the call makes a queue that grows without end.

    A deque that begins with something is a copy of it, and is not looked at.
    """
    if name in _BOUNDLESS:
        return True
    if name == "collections.deque":
        length = _argument(call, "maxlen", 1)
        endless = length is None or (isinstance(length, ast.Constant) and length.value is None)
        return endless and not call.args
    module, _, kind = name.rpartition(".")
    if kind not in _QUEUES.get(module, ()):
        return False
    size = _argument(call, "maxsize", 0)
    if isinstance(size, ast.UnaryOp):
        return isinstance(size.op, ast.USub)
    return size is None or (isinstance(size, ast.Constant) and not size.value)


def _argument(call: ast.Call, keyword: str, position: int) -> ast.expr | None:
    if len(call.args) > position:
        return call.args[position]
    return next((word.value for word in call.keywords if word.arg in (keyword, None)), None)
