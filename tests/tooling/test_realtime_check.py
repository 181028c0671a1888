"""The syntax check finds what it says it finds, and nothing else."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tools.realtime_check import Finding, check, main

ROOT = Path(__file__).parents[2]

BLOCKING = [
    "import time\nasync def f():\n    time.sleep(1)",
    "from time import sleep as nap\nasync def f():\n    nap(1)",
    "async def f():\n    with open('x') as file:\n        pass",
    "import json\nasync def f():\n    return json.loads(open('x').read())",
    "from pathlib import Path\nasync def f(path: Path):\n    return path.read_text()",
    "import json\nasync def f(path):\n    return json.loads(path.read_bytes())",
    "async def f(path):\n    path.write_text('x')",
    "async def f(folder):\n    (folder / 'x').mkdir(parents=True)",
    "import requests\nasync def f():\n    return requests.get('http://x')",
    "import requests as r\nasync def f():\n    return r.Session()",
    "import httpx\nasync def f():\n    return httpx.get('http://x')",
    "import subprocess\nasync def f():\n    subprocess.run(['ls'], check=True)",
    "from subprocess import Popen\nasync def f():\n    Popen(['ls'])",
    "import os\nasync def f(fd):\n    os.fsync(fd)",
    "import os.path\nasync def f(name):\n    return os.path.exists(name)",
    "import sqlite3\nasync def f():\n    sqlite3.connect('x')",
    "import socket\nasync def f():\n    socket.create_connection(('x', 1))",
    "import socket\nasync def f():\n    socket.getaddrinfo('x', 1)",
    "import urllib.request\nasync def f():\n    urllib.request.urlopen('http://x')",
    "import gzip\nasync def f():\n    gzip.open('x')",
    "import numpy as np\nasync def f():\n    np.load('x')",
    "import asyncio\nasync def f():\n    asyncio.run(g())",
    "async def f(loop):\n    loop.run_until_complete(g())",
    "async def f():\n    input('?')",
    "async def f(lock):\n    lock.acquire()",
    "async def f(lock):\n    lock.acquire(timeout=1)",
    "async def f(event):\n    event.wait()",
    "async def f(event):\n    if not event.wait(5):\n        raise TimeoutError",
    "async def f(thread):\n    thread.join()",
    "async def f(thread):\n    thread.join(2.0)",
    "import time\nclass A:\n    async def f(self):\n        time.sleep(1)",
    "async def f():\n    import time\n    time.sleep(1)",
]

HARMLESS = [
    "import time\ndef f():\n    time.sleep(1)",
    "import asyncio\nasync def f():\n    await asyncio.sleep(1)",
    "import asyncio, time\nasync def f():\n    await asyncio.to_thread(time.sleep, 1)",
    "async def f(loop, path):\n    await loop.run_in_executor(None, lambda: path.read_text())",
    "import asyncio\nasync def f(path):\n    def read():\n        return path.read_text()\n"
    "    return await asyncio.to_thread(read)",
    "async def f(event):\n    await event.wait()",
    "import asyncio\nasync def f(event):\n    await asyncio.wait_for(event.wait(), 1)",
    "import asyncio\nasync def f(event):\n    task = asyncio.create_task(event.wait())",
    "async def f(lock):\n    await lock.acquire()",
    "async def f(lock):\n    return lock.acquire(blocking=False)",
    "async def f(lock):\n    return lock.acquire(False)",
    "async def f(parts):\n    return ', '.join(parts)",
    "async def f(queue):\n    await queue.join()",
    "import json\nasync def f(text):\n    return json.loads(text)",
    "import os\nasync def f():\n    return os.getpid(), os.environ['HOME'], os.path.join('a', 'b')",
    "async def f(opener):\n    opener.open('x')",
    "import time\nasync def f():\n    return time.time_ns(), time.monotonic()",
]


def codes_of(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "sample.py"
    file.write_text(textwrap.dedent(text))
    return [finding.code for finding in check([file])]


@pytest.mark.parametrize("text", BLOCKING)
def test_a_blocking_call_in_a_coroutine_is_found(tmp_path: Path, text: str) -> None:
    assert codes_of(tmp_path, text) == ["RT101"]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_does_not_block_the_loop_is_left_alone(tmp_path: Path, text: str) -> None:
    assert codes_of(tmp_path, text) == []


def test_a_blocking_call_behind_plain_functions_is_found_with_its_path(tmp_path: Path) -> None:
    """Through a helper, a method, a constructor, and a re-export of another module."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("from shop.disk import keep\n")
    (package / "disk.py").write_text(
        "import os\n"
        "def keep(text):\n    _keep(text)\n"
        "def _keep(text):\n    os.fsync(1)\n"
        "class Store:\n    def __init__(self):\n        self._prepare()\n"
        "    def _prepare(self):\n        os.makedirs('x')\n"
    )
    (package / "work.py").write_text(
        "from shop import keep\nfrom .disk import Store\n"
        "async def one():\n    keep('x')\n"
        "async def two():\n    Store()\n"
        "async def three():\n    await one()\n"
    )
    assert [str(f).partition("work.py:")[2] for f in check([package])] == [
        "4:5: RT101 keep -> _keep -> os.fsync blocks the event loop in async one",
        "6:5: RT101 __init__ -> _prepare -> os.makedirs blocks the event loop in async two",
    ]


def test_a_recursion_ends(tmp_path: Path) -> None:
    text = "def a():\n    b()\ndef b():\n    a()\nasync def f():\n    a()\n"
    assert codes_of(tmp_path, text) == []


@pytest.mark.parametrize(
    "call",
    [
        "datetime.now()",
        "datetime.now(None)",
        "datetime.now(tz=None)",
        "datetime.utcnow()",
        "datetime.today()",
        "datetime.fromtimestamp(0)",
        "datetime.utcfromtimestamp(0)",
        "datetime(2024, 1, 1)",
        "datetime(2024, 1, 1, 0, 0, 0, 0)",
        "date.today()",
        "time.localtime()",
    ],
)
def test_a_time_without_a_zone_is_found_anywhere(tmp_path: Path, call: str) -> None:
    """In functions of both kinds, and in the module itself."""
    head = "import time\nfrom datetime import date, datetime\n"
    assert codes_of(tmp_path, f"{head}x = {call}") == ["RT102"]
    assert codes_of(tmp_path, f"{head}def f():\n    return {call}") == ["RT102"]
    assert codes_of(tmp_path, f"{head}async def f():\n    return {call}") == ["RT102"]


@pytest.mark.parametrize(
    "call",
    [
        "datetime.datetime.now(datetime.UTC)",
        "datetime.datetime.now(tz=datetime.UTC)",
        "datetime.datetime.fromtimestamp(0, datetime.UTC)",
        "datetime.datetime.fromtimestamp(0, tz=datetime.UTC)",
        "datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)",
        "datetime.datetime(*parts, **zone)",
        "datetime.timedelta(days=1)",
    ],
)
def test_a_time_with_a_zone_is_left_alone(tmp_path: Path, call: str) -> None:
    assert codes_of(tmp_path, f"import datetime\nx = {call}") == []


@pytest.mark.parametrize(
    "call",
    [
        "asyncio.Queue()",
        "asyncio.Queue(0)",
        "asyncio.Queue(maxsize=0)",
        "asyncio.Queue(-1)",
        "asyncio.LifoQueue()",
        "asyncio.PriorityQueue()",
        "queue.Queue()",
        "queue.Queue(maxsize=None)",
        "queue.SimpleQueue()",
        "multiprocessing.Queue()",
        "collections.deque()",
        "collections.deque(maxlen=None)",
    ],
)
def test_a_queue_without_a_bound_is_found(tmp_path: Path, call: str) -> None:
    head = "import asyncio, collections, multiprocessing, queue\n"
    assert codes_of(tmp_path, f"{head}x = {call}") == ["RT103"]


@pytest.mark.parametrize(
    "call",
    [
        "asyncio.Queue(100)", "asyncio.Queue(maxsize=size)", "queue.Queue(SIZE)", "Queue()",
        "collections.deque(maxlen=5)", "collections.deque(several)",
    ],
)  # fmt: skip
def test_a_queue_with_a_bound_is_left_alone(tmp_path: Path, call: str) -> None:
    assert codes_of(tmp_path, f"import asyncio, collections, queue\nx = {call}") == []


def test_an_allowance_with_a_reason_holds_on_its_line_and_the_line_above(tmp_path: Path) -> None:
    text = """
        import queue
        one = queue.Queue()  # realtime: allow RT103 - the producer waits for each answer
        # realtime: allow RT103 - the producer waits for each answer
        two = queue.Queue()
    """
    assert codes_of(tmp_path, text) == []


def test_an_allowance_in_a_plain_function_clears_its_callers(tmp_path: Path) -> None:
    text = """
        import os
        def keep():
            os.write(1, b"x")  # realtime: allow RT101 - a pipe that is always drained
        async def f():
            keep()
    """
    assert codes_of(tmp_path, text) == []


@pytest.mark.parametrize(
    "comment",
    ["realtime: allow", "realtime: allow RT103", "realtime: allow RT103 -", "realtime: allow - ok"],
)
def test_an_allowance_without_a_reason_allows_nothing(tmp_path: Path, comment: str) -> None:
    text = f"import queue\nx = queue.Queue()  # {comment}\n"
    assert codes_of(tmp_path, text) == ["RT103", "RT100"]


def test_an_allowance_of_another_rule_allows_nothing_and_is_reported(tmp_path: Path) -> None:
    text = "import queue\nx = queue.Queue()  # realtime: allow RT101 - a reason that is long\n"
    assert sorted(codes_of(tmp_path, text)) == ["RT100", "RT103"]


def test_the_command_prints_places_as_compilers_do_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sample.py"
    file.write_text("import time\n\n\nasync def f():\n    time.sleep(1)\n")
    assert main([str(file)]) == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"{file}:5:5: RT101 time.sleep blocks the event loop in async f"
    file.write_text("x = 1\n")
    assert main([str(file)]) == 0
    assert main([str(tmp_path / "missing")]) == 2


def test_the_sources_of_candlewick_pass() -> None:
    found: list[Finding] = check([ROOT / "src"])
    assert not found, "\n".join(map(str, found))
