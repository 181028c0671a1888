"""The scripts around the tools tell the truth, also where something is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = ("install", "run", "test", "check", "bench", "docs", "soak", "clean")


def run(
    *command: str | Path, folder: Path, path: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    search = f"{path}{os.pathsep}/usr/bin{os.pathsep}/bin" if path else os.environ["PATH"]
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={"PATH": search, "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def program(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


# -- .ci/run ----------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the script, a `make` in front of the real one, and no Prometheus to be had."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    program(tmp_path / "tools" / "promtool.sh", "touch fetched; echo promtool is not installed >&2")
    return tmp_path


def continuous_integration(clone: Path, test: str, check: str) -> subprocess.CompletedProcess[str]:
    program(clone / "bin" / "make", f'case "$1" in test) {test} ;; check) {check} ;; esac')
    return run(clone / ".ci" / "run", folder=clone, path=str(clone / "bin"))


def test_integration_ends_with_the_closing_line_of_the_tests(clone: Path) -> None:
    done = continuous_integration(clone, 'echo "12 passed in 3.40s"', "echo checked")
    assert done.returncode == 0, done.stderr
    assert "checked" in done.stdout
    assert done.stdout.splitlines()[-1] == "12 passed in 3.40s"


def test_integration_fetches_prometheus_before_the_tests(clone: Path) -> None:
    done = continuous_integration(clone, 'ls fetched && echo "12 passed in 3.40s"', "true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "promtool is not installed" in done.stderr


@pytest.mark.parametrize(
    ("test", "check", "failed", "last"),
    [
        ('echo "1 failed, 2 passed in 1.00s"; exit 1', "true", "make test", "1 failed, 2 passed"),
        ('echo "2 passed, 1 skipped in 1.00s"', "exit 3", "make check", "2 passed, 1 skipped"),
        ('echo "1 error in 0.50s"; exit 2', "true", "make test", "1 error in 0.50s"),
    ],
)
def test_integration_fails_when_anything_fails_and_says_what(
    clone: Path, test: str, check: str, failed: str, last: str
) -> None:
    done = continuous_integration(clone, test, check)
    assert done.returncode != 0
    assert f"failed: {failed}" in done.stdout
    assert done.stdout.splitlines()[-1].startswith(last)


def test_integration_without_a_test_is_a_failure(clone: Path) -> None:
    """A Makefile that runs nothing must not pass for a success."""
    done = continuous_integration(clone, "true", "true")
    assert done.returncode != 0
    assert done.stdout.splitlines()[-1] == "no test ran"


# -- the virtual environment ---------------------------------------------------------------


def test_an_old_python_is_refused_with_what_to_do(tmp_path: Path) -> None:
    program(
        tmp_path / "old",
        f"sed 's/^import sys$/import sys; sys.version_info = (3, 9, 2)/' | {sys.executable} -",
    )
    done = run(
        ROOT / "tools" / "create_venv.sh",
        tmp_path / "venv",
        folder=tmp_path,
        PYTHON=str(tmp_path / "old"),
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_an_environment_that_works_is_left_alone(tmp_path: Path) -> None:
    program(tmp_path / "venv" / "bin" / "python", "exit 0")
    done = run(
        ROOT / "tools" / "create_venv.sh",
        tmp_path / "venv",
        folder=tmp_path,
        PYTHON=sys.executable,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "venv" / "bin" / "python").read_text().endswith("exit 0\n")


def test_without_venv_pip_and_debian_the_message_says_what_to_install(tmp_path: Path) -> None:
    """A Python whose modules `venv`, `virtualenv` and `pip` all fail, and no apt-get."""
    program(
        tmp_path / "bare" / "python3",
        f'if [ "$1" = -m ]; then exit 1; fi\nexec {sys.executable} "$@"',
    )
    for name in ("sh", "rm", "id"):
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found
        (tmp_path / "bare" / name).symlink_to(found)
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "tools" / "create_venv.sh"), str(tmp_path / "venv")],
        env={"PATH": str(tmp_path / "bare")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "install python3-venv" in done.stderr
    assert not (tmp_path / "venv").exists()


# -- promtool ----------------------------------------------------------------------------


def test_promtool_is_run_where_it_is(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "promtool", 'echo "promtool: $@"; exit 4')
    done = run(
        ROOT / "tools" / "promtool.sh", "check", "rules",
        folder=tmp_path, path=str(tmp_path / "bin"),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (4, "promtool: check rules\n")


def test_promtool_that_cannot_be_had_is_told_by_exit_code_69(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("dirname", "mkdir", "rm"):
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found
        (tmp_path / "bin" / name).symlink_to(found)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "promtool.sh", tmp_path / "tools")
    done = subprocess.run(
        ["/bin/sh", str(tmp_path / "tools" / "promtool.sh")],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 69, done.stderr
    assert "apt-get cannot fetch" in done.stderr


@pytest.mark.parametrize("lists", ["known", "unknown"])
def test_promtool_is_fetched_also_where_no_package_lists_are(tmp_path: Path, lists: str) -> None:
    """As in a fresh container: the lists are fetched into the folder too, and go away again."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "promtool.sh", tmp_path / "tools")
    program(
        tmp_path / "bin" / "apt-get",
        f"""echo "$@" >>{tmp_path}/calls
case "$*" in
*Lists=*update*) touch lists/known ;;
*download*) [ {lists} = known ] || [ -e lists/known ] || exit 100; touch prometheus_1.deb ;;
esac""",
    )
    program(
        tmp_path / "bin" / "dpkg",
        """[ "$1 $2 $3" = "-x prometheus_1.deb ." ] || exit 1
mkdir -p usr/bin
printf '#!/bin/sh\necho fetched "$@"\n' >usr/bin/promtool
chmod +x usr/bin/promtool""",
    )
    for name in ("sh", "dirname", "mkdir", "rm", "touch", "chmod"):
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found
        (tmp_path / "bin" / name).symlink_to(found)
    for _ in range(2):
        done = subprocess.run(
            ["/bin/sh", str(tmp_path / "tools" / "promtool.sh"), "check"],
            env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "fetched check\n"), done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == (1 if lists == "known" else 3), "the second time it is there"
    assert sorted(p.name for p in (tmp_path / ".venv" / "prometheus").iterdir()) == ["usr"]


# -- make ----------------------------------------------------------------------------


def test_every_target_is_declared_and_starts_from_nothing(tmp_path: Path) -> None:
    """With no environment yet, each target that needs one makes it first."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for target in TARGETS:
        done = run("make", "-n", target, f"VENV={tmp_path}/venv", folder=ROOT)
        assert done.returncode == 0, done.stderr
        steps = done.stdout.splitlines()
        if target != "clean":
            assert "tools/create_venv.sh" in steps[0], steps
    declared = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M)
    assert declared
    assert set(declared[1].split()) == set(TARGETS)
