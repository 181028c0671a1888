"""`Market`: the candles a run is made on, from files or synthetic, in one base interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from candlewick.data.aggregation import aggregate
from candlewick.data.instruments import guess_instrument
from candlewick.data.joining import join
from candlewick.data.problems import OnProblem, Problem, check_gaps
from candlewick.data.reading import Loaded, load_candles, symbol_of
from candlewick.data.synthetic import synthetic_market
from candlewick.errors import ConfigError, DataError
from candlewick.models import CandleTable, Instrument, interval_ms

__all__ = ["Market", "files_of", "load_market", "market_of", "missing_in"]

_SUFFIXES = (".csv", ".csv.gz", ".zip", ".parquet")


class Market(msgspec.Struct, frozen=True):
    """Tables of one base interval, one a symbol, with their instruments and problems.

    ``label`` says where they come from; a synthetic market always says so, and is ``synthetic``.
    """

    tables: tuple[CandleTable, ...]
    instruments: dict[str, Instrument]
    label: str
    problems: tuple[Problem, ...] = ()
    synthetic: bool = False

    @property
    def interval(self) -> str:
        """The base interval."""
        return self.tables[0].interval

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order of the tables."""
        return tuple(table.symbol for table in self.tables)

    @property
    def missing_candles(self) -> int:
        """How many candles the gaps lack, whether they were reported or not."""
        return sum(missing_in(table) for table in self.tables)

    def first(self, candles: int) -> Market:
        """The market's first candles of each symbol, and their problems; 0 means all."""
        if not candles:
            return self
        tables = tuple(table[slice(0, candles)] for table in self.tables)
        end = max(int(table.close_time[-1]) for table in tables)
        problems = tuple(problem for problem in self.problems if problem.time <= end)
        return msgspec.structs.replace(self, tables=tables, problems=problems)


def missing_in(table: CandleTable) -> int:
    """How many candles a table lacks between its first and its last."""
    if not len(table):
        return 0
    span = int(table.open_time[-1] - table.open_time[0])
    return span // interval_ms(table.interval) + 1 - len(table)


def market_of(tables: Sequence[CandleTable], label: str = "tables") -> Market:
    """Take tables as they are; instruments are guessed from the prices."""
    if not tables or not all(len(table) for table in tables):
        raise DataError(f"{label}: no candles")
    intervals = sorted({table.interval for table in tables})
    if len(intervals) > 1:
        raise DataError(f"{label}: one base interval is needed, not {', '.join(intervals)}")
    symbols = [table.symbol for table in tables]
    if len(set(symbols)) < len(symbols):
        raise DataError(f"{label}: a symbol occurs twice in {', '.join(symbols)}")
    instruments = {table.symbol: guess_instrument(table.symbol, table) for table in tables}
    quotes = sorted({item.quote for item in instruments.values()})
    if len(quotes) > 1:
        raise DataError(f"{label}: one account has one quote currency, not {', '.join(quotes)}")
    return Market(tuple(tables), instruments, label)


def load_market(
    paths: Sequence[str | Path],
    *,
    symbols: Sequence[str] = (),
    interval: str = "",
    candles: int = 0,
    seed: int = 0,
    synthetic_candles: int = 10_000,
    on_problem: OnProblem | str = OnProblem.FAIL,
    on_gap: OnProblem | str = OnProblem.REPORT,
    progress: Callable[[str], None] | None = None,
) -> Market:
    """Load candle files (or folders of them), or make a synthetic market when none is given.

    Args:
        paths: files and folders; several files of one symbol, as of its months, are joined.
        symbols: what to pick from the files; names for the files in their order, where there are
            as many and their own names tell none of these; for the synthetic market, what to make.
        interval: the base interval; files of a lower one are aggregated. Where some files of a
            symbol are named after it, as BTCUSDT-1h-2024-01.parquet, only those are read.
        candles: use at most that many of each symbol; 0 means all.
        seed: of the synthetic market.
        synthetic_candles: how many the synthetic market makes when ``candles`` is 0.
        on_problem, on_gap: see `load_candles`.
        progress: called with the name of each file that is read.
    """
    if not paths:
        names = tuple(symbols) or ("BTCUSDT",)
        label = f"synthetic market (seed {seed})"
        made = synthetic_market(
            names,
            interval or "1m",
            candles or synthetic_candles,
            seed,
            instruments=[guess_instrument(name) for name in names],
        )
        return msgspec.structs.replace(market_of(made, label), synthetic=True)
    files = files_of(paths)
    on_problem, on_gap = OnProblem(on_problem), OnProblem(on_gap)
    tables: list[CandleTable] = []
    problems: list[Problem] = []
    for symbol, own in _by_symbol(files, symbols):
        own = _named(own, interval)
        for file in own:
            if progress is not None:
                progress(file.name)
        loaded = _load_joined(symbol, own, on_problem, on_gap, interval)
        tables.append(_in_interval(loaded.table, interval, own[0]))
        problems += loaded.problems
    label = ", ".join(file.name for file in files[:3]) + (", ..." if len(files) > 3 else "")
    market = msgspec.structs.replace(market_of(tables, label), problems=tuple(problems))
    return market.first(candles)


def files_of(paths: Sequence[str | Path]) -> list[Path]:
    """The files among ``paths``, and the candle files in the folders among them, by name."""
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.name.endswith(_SUFFIXES))
            if not inside:
                raise DataError(f"{path} holds no candle file ({', '.join(_SUFFIXES)})")
            files += inside
        else:
            files.append(path)
    return files


def _in_interval(table: CandleTable, interval: str, file: Path) -> CandleTable:
    if not interval or interval == table.interval:
        return table
    if interval_ms(interval) < interval_ms(table.interval):
        raise ConfigError(
            f"{file.name} has candles of {table.interval}; {interval} cannot be made from them"
        )
    return aggregate(table, interval)


def _by_symbol(files: Sequence[Path], symbols: Sequence[str]) -> list[tuple[str, list[Path]]]:
    """Symbols with their files, in the order of ``symbols`` where some are given."""
    told: dict[str, list[Path]] = {}
    for file in files:
        try:
            told.setdefault(symbol_of(file), []).append(file)
        except DataError:
            if not symbols:
                raise
    if not symbols:
        return list(told.items())
    missing = [symbol for symbol in symbols if symbol not in told]
    if not missing:
        return [(symbol, told[symbol]) for symbol in symbols]
    if len(symbols) == len(files) == len(missing):
        return [(symbol, [file]) for symbol, file in zip(symbols, files, strict=True)]
    raise ConfigError(
        f"the data has no symbol {', '.join(missing)} (it has: {', '.join(told) or 'none'})"
    )


def _named(files: list[Path], interval: str) -> list[Path]:
    """The files that are named after the interval, as BTCUSDT-1h-2024-01; all where none is."""
    named = [file for file in files if interval in file.name.split("-")[1:2]]
    return named or files


def _load_joined(
    symbol: str,
    files: Sequence[Path],
    on_problem: OnProblem,
    on_gap: OnProblem,
    interval: str,
) -> Loaded:
    if len(files) == 1:
        return load_candles(files[0], symbol, "", on_problem, on_gap, interval)
    parts = [load_candles(file, symbol, "", on_problem, OnProblem.SKIP, interval) for file in files]
    tables = [part.table for part in parts]
    table, problems = join(tables, [str(file) for file in files], on_problem)
    problems[:0] = [problem for part in parts for problem in part.problems]
    gaps = check_gaps(table, f"{symbol}, {len(files)} files", on_gap)
    return Loaded(table, (*problems, *gaps))
