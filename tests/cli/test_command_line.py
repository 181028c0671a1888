"""The command line, as a user runs it: real processes, real files, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from candlewick.cli.main import COMMANDS, run_command

COMMAND = [sys.executable, "-c", "from candlewick.cli.main import main; main()"]
SHORT = ("--candles", "600", "--seed", "5")


def candlewick(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=100
    )


def started(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def records_of(directory: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(directory.glob("*.jsonl"))
        for line in path.read_bytes().rstrip(b"\0").splitlines()
    ]


NEEDED = {
    "candles", "signals", "orders", "fills", "trades", "fees", "net_profit", "final_equity",
    "max_drawdown", "elapsed_s", "journal",
}  # fmt: skip


def test_run_ends_with_a_summary_of_real_trades(tmp_path: Path) -> None:
    done = candlewick("run", *SHORT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("synthetic market (seed 5)", "trades", "drawdown", str(tmp_path / "journal")):
        assert word in done.stdout.replace("\n", "")
    assert records_of(tmp_path / "journal")[-1]["type"] == "journal_closed"


def test_run_and_backtest_print_the_same_figures_as_json(tmp_path: Path) -> None:
    run = candlewick("run", *SHORT, "--json", "--journal", "here", cwd=tmp_path)
    test = candlewick("backtest", "sma_cross", *SHORT, "--json", cwd=tmp_path)
    ours, theirs = json.loads(run.stdout), json.loads(test.stdout)
    assert ours.keys() == theirs.keys() >= NEEDED
    assert ours["journal"] == str(tmp_path / "here")
    assert theirs["journal"] is None
    for name in ours.keys() - {"journal", "venue", "elapsed_s"}:
        assert ours[name] == theirs[name], name
    assert ours["trades"] > 10


@pytest.mark.parametrize("venue", ["simulated", "sandbox"])
def test_recorded_funding_is_paid_in_a_run_as_in_a_backtest(tmp_path: Path, venue: str) -> None:
    hour = 3_600_000
    start = 1_704_067_200_000  # 2024-01-01, where the synthetic market begins
    rates = [(start + n * hour + 7, 0.001 * (1 - n % 3)) for n in range(1, 10)]
    text = "funding_time,funding_rate\n" + "".join(f"{time},{rate}\n" for time, rate in rates)
    (tmp_path / "btcusdt-funding.csv").write_text(text)
    given = (*SHORT, "--funding", "btcusdt-funding.csv", "--json")
    run = candlewick("run", *given, "--venue", venue, cwd=tmp_path)
    ours = json.loads(run.stdout)
    theirs = json.loads(candlewick("backtest", *given, cwd=tmp_path).stdout)
    assert theirs["funding"] != 0.0
    for name in ours.keys() - {"journal", "venue", "elapsed_s"}:
        assert ours[name] == theirs[name], name


def test_options_change_fees_cash_and_parameters(tmp_path: Path) -> None:
    free = candlewick(
        "backtest", "sma_cross", *SHORT, "--fee-taker", "0", "--cash", "500", "--json",
        "-p", "fast=5", cwd=tmp_path,
    )  # fmt: skip
    result = json.loads(free.stdout)
    assert result["fees"] == 0.0
    assert result["start_equity"] == 500.0
    assert result["params"] == {"fast": 5, "slow": 30}
    slipped = candlewick(
        "backtest", "sma_cross", *SHORT, "--fee-taker", "0", "--cash", "500", "--json",
        "-p", "fast=5", "--slippage-bps", "5", cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(slipped.stdout)["final_equity"] < result["final_equity"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_in_the_middle_leaves_a_flat_account(tmp_path: Path, name: str) -> None:
    process = started("run", "--speed", "30000", "--candles", "9000", cwd=tmp_path)
    assert process.stdout is not None
    line = process.stdout.readline()  # the first status line: it trades by now
    assert "running" in line
    process.send_signal(getattr(signal, name))
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    assert f"{name}: stopping, flatten positions" in output
    records = records_of(tmp_path / "journal")
    kinds = [record["type"] for record in records]
    assert kinds[-2:] == ["engine_stopped", "journal_closed"]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    reconciled = [record["data"] for record in records if record["type"] == "reconciled"]
    assert reconciled == [{"verified": True, "problems": []}]
    held = 0.0
    for record in records:
        if record["type"] == "fill":
            fill = record["data"]
            held += fill["quantity"] if fill["side"] == "buy" else -fill["quantity"]
    assert abs(held) < 1e-9
    assert 0 < kinds.count("candle_closed") < 9_000


def test_two_runs_share_a_journal_but_not_at_the_same_time(tmp_path: Path) -> None:
    first = started("run", "--speed", "30000", "--candles", "9000", cwd=tmp_path)
    assert first.stdout is not None
    first.stdout.readline()
    second = candlewick("run", *SHORT, cwd=tmp_path)
    assert second.returncode == 4
    assert str(first.pid) in second.stderr
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    third = candlewick("run", *SHORT, cwd=tmp_path)
    assert third.returncode == 0
    records = records_of(tmp_path / "journal")
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))


def test_a_strategy_that_raises_gives_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from candlewick import Strategy\n"
        "class Mine(Strategy):\n"
        "    def on_candle(self, candle):\n"
        "        self.buy()\n"
        "        if len(self.history) > 20:\n"
        "            raise KeyError('missing')\n"
    )
    for arguments in (("run", "--strategy", "mine.py:Mine"), ("backtest", "mine.py:Mine")):
        done = candlewick(*arguments, *SHORT, cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        assert "KeyError('missing') in on_candle, mine.py:6" in done.stdout
        assert not any(line.endswith(" ") for line in done.stdout.splitlines())
    kinds = [record["type"] for record in records_of(tmp_path / "journal")]
    assert "strategy_failed" in kinds


def test_an_interrupted_backtest_says_so_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\n"
        "from candlewick import Strategy\n"
        "class Slow(Strategy):\n"
        "    def on_candle(self, candle):\n"
        "        print('here', flush=True)\n"
        "        time.sleep(100)\n"
    )
    process = started("backtest", "slow.py", *SHORT, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, printed, errors) == (130, "", "error: interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--data", "nowhere.csv"), "nowhere.csv does not exist"),
        (("run", "--data", "broken.csv"), "broken.csv:3: broken row"),
        (("run", "--config", "typo.toml"), "did you mean 'max_leverage'?"),
        (("run", "--config", "absent.toml"), "absent.toml cannot be read"),
        (("run", "--config", "bad.toml"), "bad.toml is not valid TOML"),
        (("run", "--strategy", "sma_crosss"), "did you mean 'sma_cross'?"),
        (("run", "--param", "fst=3"), "did you mean 'fast'?"),
        (("run", "--param", "fast=x"), "'x' is not of type int"),
        (("run", "--param", "fast"), "must be written as name=value"),
        (("run", "--venue", "simulatd"), "unknown venue"),
        (("run", "--speed", "quick"), "must be a number or max"),
        (("run", "--on-stop", "kep"), "run.on_stop: 'kep' is unknown; did you mean 'keep'?"),
        (("run", "--on-gap", "x"), "data.on_gap: 'x' is unknown (known: fail, skip, report)"),
        (("run", "--symbol", "BTC/USDT"), "write it as the exchange does: BTCUSDT"),
        (("backtest", "none.py"), "none.py has no strategy"),
        (("run", "--param", "fast=0"), "SmaCross: fast=0 must be at least 1 and below slow=30"),
        (("run", "--funding", "xrp-8h.csv"), "funding file xrp-8h.csv does not exist"),
        (("run", "--funding", "x-1.csv", "--venue", "paper"), "does not go with --venue paper"),
        (("backtest", "--param", "fast=0"), "SmaCross: fast=0 must be at least 1"),
        (("backtest", "--funding", "7.csv"), "--funding '7.csv': name its symbol, as SYMBOL=FILE"),
        (("backtest", "--funding", "xrp-8h.csv"), "funding file xrp-8h.csv does not exist"),
        (("backtest", "--funding", "XRPUSDT=rates.csv"), "funding rates of XRPUSDT, which does"),
        (("run", "--interval", "1x"), "data.interval '1x'"),
        (("backtest", "--cash", "-5"), "cash -5.0 must be positive"),
        (("backtst",), "did you mean 'backtest'?"),
        (("backtest", "--bogus"), "--bogus"),
    ],
)
def test_bad_input_is_answered_with_what_to_do_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "broken.csv").write_text(
        "open_time,open,high,low,close,volume\n60000,1,2,1,2,5\n120000,1,2,oops,2,5\n"
    )
    (tmp_path / "typo.toml").write_text("[risk]\nmax_levrage = 2.0\n")
    (tmp_path / "bad.toml").write_text("[risk\n")
    (tmp_path / "rates.csv").write_text("funding_time,funding_rate\n1637193600017,0.0001\n")
    (tmp_path / "none.py").write_text("import math\n")
    done = candlewick(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "journal").exists()


def test_config_init_prints_where_it_is_asked_to(tmp_path: Path) -> None:
    printed = candlewick("config", "init", "-", cwd=tmp_path)
    again = candlewick("config", "init", "-", cwd=tmp_path)
    assert printed.returncode == again.returncode == 0
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "candlewick.toml").write_text(printed.stdout)
    assert candlewick("config", "check", cwd=tmp_path).returncode == 0


def test_config_check_looks_for_every_file(tmp_path: Path) -> None:
    (tmp_path / "candlewick.toml").write_text('[account]\nfunding = ["XRPUSDT=none.csv"]\n')
    done = candlewick("config", "check", cwd=tmp_path)
    assert done.returncode == 2
    assert "candlewick.toml: account.funding: none.csv does not exist" in done.stderr


def test_config_init_writes_what_config_check_accepts(tmp_path: Path) -> None:
    assert candlewick("config", "init", cwd=tmp_path).returncode == 0
    text = (tmp_path / "candlewick.toml").read_text()
    assert candlewick("config", "check", cwd=tmp_path).returncode == 0
    again = candlewick("config", "init", cwd=tmp_path)
    assert again.returncode == 2
    assert "--force" in again.stderr
    (tmp_path / "candlewick.toml").write_text(
        text.replace("max_leverage = 3.0", "max_leverage = 300.0")
    )
    wrong = candlewick("config", "check", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "risk.max_leverage 300.0 must be from 0 to 125" in wrong.stderr


def test_a_config_file_is_used_and_options_override_it(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        "[strategy]\nname = 'donchian_breakout'\nparams = {period = 20}\n"
        "[data]\ncandles = 300\nseed = 9\n[account]\ncash = 2500.0\n"
    )
    done = candlewick("backtest", "-c", "c.toml", "--candles", "200", "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert result["strategy"] == "donchian_breakout"
    assert result["params"]["period"] == 20
    assert result["start_equity"] == 2500.0
    assert result["candles"] == 200


def test_help_and_version(tmp_path: Path) -> None:
    overview = candlewick("--help", cwd=tmp_path)
    assert overview.returncode == 0
    for command in ("run", "backtest", "config"):
        assert command in overview.stdout
        assert candlewick(command, "--help", cwd=tmp_path).returncode == 0
    assert candlewick("--version", cwd=tmp_path).stdout.startswith("candlewick ")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_has_no_option_that_a_part_of_the_command_cannot_keep(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Completion is that of a whole program; each command here is loaded by itself."""
    assert run_command([name, "--help"]) == 0
    told = capsys.readouterr().out
    assert f"candlewick {name}" in told
    assert "completion" not in told
