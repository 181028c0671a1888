"""The sections of the report, each a piece of HTML from a result."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from candlewick.backtesting.performance import Performance, monthly_returns
from candlewick.backtesting.report.charts import json_text
from candlewick.backtesting.report.curves import (
    equity_charts,
    price_chart,
    profit_chart,
    shown_trades,
)
from candlewick.backtesting.report.words import Money, duration, percent, ratio, table, tone
from candlewick.backtesting.table import utc
from candlewick.backtesting.trade_figures import TradeFigures, grouped
from candlewick.engine import Trade

if TYPE_CHECKING:
    from candlewick.backtesting.api import Result

__all__ = [
    "costs", "curves", "months", "prices", "settings", "tiles", "trade_table", "trades", "warnings",
]  # fmt: skip

_ROWS = 5_000  # trades in the table
_SYMBOLS = 20  # price charts
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def warnings(result: Result) -> str:
    """What a reader must know before the figures."""
    said = []
    if result.market.synthetic:
        said.append(
            "<b>Synthetic market.</b> These candles were made by chance and are no record of any"
            " real market: the profit says nothing about what the strategy would have earned."
        )
    if result.missing_candles:
        said.append(
            f"{result.missing_candles:,} candles are missing in the data; the run went on over the"
            " gaps."
        )
    if result.denials:
        codes = ", ".join(f"{count:,} {escape(code)}" for code, count in result.denials.items())
        said.append(f"Signals that risk denied: {codes}.")
    if result.rejections:
        said.append(f"{result.rejections:,} orders were rejected by the exchange.")
    boxes = "".join(f'<p class="warning">{words}</p>' for words in said)
    if result.failure:
        boxes = (
            '<p class="warning failed"><b>The strategy raised</b> and the run ended there:'
            f" {escape(result.failure)}</p>{boxes}"
        )
    return boxes


def tiles(result: Result, money: Money, figures: Performance, made: TradeFigures) -> str:
    """The figures that are looked at first."""
    fell = figures.drawdown_end - figures.drawdown_start
    cells = [
        ("net profit", money(result.net_profit, signed=True),
         percent(result.total_return, signed=True), tone(result.net_profit)),
        ("final equity", money(result.final_equity), f"from {money(result.start_equity)}", ""),
        ("max drawdown", percent(result.max_drawdown),
         f"longest {duration(fell)}" if fell else "none", ""),
        ("Sharpe", ratio(result.sharpe), f"Sortino {ratio(figures.sortino)}", ""),
        ("profit factor", ratio(result.profit_factor), f"{percent(result.win_rate)} won", ""),
        ("trades", f"{result.trades:,}",
         f"{made.long:,} long, {made.count - made.long:,} short", ""),
        ("average trade", money(made.average, signed=True),
         f"median {duration(made.median_duration)}", tone(made.average)),
        ("a year", "–" if figures.annual_return is None
         else percent(figures.annual_return, signed=True),
         f"volatility {percent(figures.volatility)}", ""),
        ("fees", money(result.fees), f"{result.fills:,} fills", ""),
        ("funding", money(result.funding, signed=True), "received" if result.funding > 0.0
         else "paid" if result.funding < 0.0 else "none", ""),
    ]  # fmt: skip
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><span>{name}</span><b class="{kind}">{value}</b>'
        f"<small>{below}</small></div>"
        for name, value, below, kind in cells
    ) + "</div>"  # fmt: skip


def curves(result: Result, money: Money) -> str:
    """Equity and drawdown."""
    if not result.equity_curve:
        return ""
    times = np.asarray(result.equity_times, dtype=np.int64)
    curve = np.asarray(result.equity_curve, dtype=np.float64)
    # several symbols close at one time: what stands after the last of them
    last = np.append(np.flatnonzero(np.diff(times)), len(times) - 1)
    charts, shown = equity_charts(times[last], curve[last], result.start_equity, money.decimals)
    note = ""
    if shown < len(last):
        note = (
            f"{shown:,} of {len(last):,} moments are drawn, the highest and lowest of each stretch"
            " among them; all figures are from every moment."
        )
    return _section(
        f"Equity and drawdown, {escape(money.quote)}", f'{charts}<p class="note">{note}</p>'
    )


def prices(result: Result) -> str:
    """A chart of each symbol with its trades."""
    boxes = []
    tables = result.market.tables
    for number, candles in enumerate(tables[:_SYMBOLS]):
        own = [trade for trade in result.trade_list if trade.symbol == candles.symbol]
        shown = shown_trades(own)
        note = "" if len(shown) == len(own) else (
            f"The {len(shown):,} trades with the largest profits and losses are marked,"
            f" of {len(own):,}."
        )  # fmt: skip
        symbol = escape(candles.symbol)
        boxes.append(
            f'<details data-symbol="{symbol}"{" open" if number == 0 else ""}>'
            f"<summary>{symbol}, {len(own):,} trade{'' if len(own) == 1 else 's'}</summary>"
            f"{price_chart(candles, shown)}"
            f'<p class="note">{note}</p></details>'
        )
    if len(tables) > _SYMBOLS:
        left = escape(", ".join(t.symbol for t in tables[_SYMBOLS:]))
        boxes.append(f'<p class="note">Without a chart here: {left}.</p>')
    legend = (
        '<p class="legend"><span class="long">long entry</span><span class="short">short'
        ' entry</span><span class="exit win">exit with a profit</span><span class="exit loss">exit'
        " with a loss</span></p>"
    )
    return _section("Prices, entries and exits", "".join(boxes) + legend)


def months(result: Result) -> str:
    """Returns by UTC month and year."""
    returns = monthly_returns(result.equity_times, result.equity_curve, result.start_equity)
    if not returns:
        return ""
    strongest = max(abs(value) for value in returns.values()) or 1.0
    rows = []
    for year in sorted({year for year, _ in returns}):
        whole, cells = 1.0, [str(year)]
        for month in range(1, 13):
            value = returns.get((year, month))
            cells.append("" if value is None else _shaded(value, strongest))
            whole *= 1.0 + (value or 0.0)
        cells.append(
            f'<td class="{tone(whole - 1.0)}"><b>{percent(whole - 1.0, signed=True)}</b></td>'
        )
        rows.append(cells)
    return _section("Monthly returns", table(["", *_MONTHS, "year"], rows, "months"))


def _shaded(value: float, strongest: float) -> str:
    colour = "var(--good)" if value >= 0.0 else "var(--bad)"
    share = round(abs(value) / strongest * 38.0)
    return (
        f'<td style="background:color-mix(in srgb, {colour} {share}%, transparent)">'
        f"{percent(value, signed=True)}</td>"
    )


def trades(result: Result, money: Money, made: TradeFigures) -> str:
    """How the profits are spread, and over which symbols and exits."""
    if not result.trade_list:
        return _section("Trades", '<p class="note">No trade was closed.</p>')
    profits = np.array([trade.profit for trade in result.trade_list])
    figures = [
        ("average win", money(made.average_win, signed=True)),
        ("average loss", money(made.average_loss, signed=True)),
        ("best and worst", f"{money(made.best, signed=True)} and {money(made.worst, signed=True)}"),
        ("most in a row", f"{made.most_wins:,} won, {made.most_losses:,} lost"),
        ("in the market", f"{percent(made.exposure)} of the time"),
    ]
    by_exit = _groups(result, money, "exit", lambda trade: _reason(trade.exit_reason))
    by_entry = _groups(result, money, "entry", lambda trade: _reason(trade.entry_reason))
    by_symbol = ""
    if len(result.symbols) > 1:
        by_symbol = _groups(result, money, "symbol", lambda trade: trade.symbol)
    return _section(
        f"Profits of trades, {escape(money.quote)}",
        profit_chart(profits) + '<div class="halves">'
        + f"<div><h3>figures</h3>{table((), figures, 'pairs')}</div>"
        + f"{by_exit}{by_entry}{by_symbol}</div>",
    )  # fmt: skip


def _reason(words: str) -> str:
    """Reasons with the exchange's running numbers, as those of liquidations, are one."""
    if words.startswith("autoclose-"):
        return "liquidation"
    return words or "no reason given"


def _groups(result: Result, money: Money, name: str, key: Any) -> str:
    groups = grouped(result.trade_list, key)
    rows = [
        (g.name, f"{g.count:,}", percent(g.wins / g.count),
         f'<td class="{tone(g.profit)}">{money(g.profit, signed=True)}</td>')
        for g in groups[:12]
    ]  # fmt: skip
    rest = len(groups) - len(rows)
    note = f'<p class="note">and {rest:,} more</p>' if rest else ""
    return f"<div><h3>by {name}</h3>{table([name, 'trades', 'won', 'profit'], rows)}{note}</div>"


def costs(result: Result, money: Money) -> str:
    """From the profit of the prices to what was left."""
    makers = sum(fill.fee for fill in result.fill_list if fill.maker)
    gross = result.net_profit + result.fees - result.funding
    rows = [
        ("profit of the prices", money(gross, signed=True)),
        ("fees as taker", money(-(result.fees - makers), signed=True)),
        ("fees as maker", money(-makers, signed=True)),
        ("funding", money(result.funding, signed=True)),
        ("net profit", f'<td class="{tone(result.net_profit)}"><b>'
         f"{money(result.net_profit, signed=True)}</b></td>"),
    ]  # fmt: skip
    return _section(f"Fees and funding, {escape(money.quote)}", table((), rows, "pairs"))


def trade_table(result: Result, money: Money) -> str:
    """All trades, or the largest of very many, as data for the page's script."""
    kept = result.trade_list
    note = ""
    if len(kept) > _ROWS:
        largest = sorted(range(len(kept)), key=lambda place: -abs(kept[place].profit))[:_ROWS]
        note = (
            f'<p class="note">The {_ROWS:,} trades with the largest profits and losses, of'
            f" {len(kept):,}; all figures above are over all of them.</p>"
        )
        numbered = [(place + 1, kept[place]) for place in sorted(largest)]
    else:
        numbered = list(enumerate(kept, 1))
    if not numbered:
        return ""
    return _section("All trades" if not note else "Trades", (
        '<div class="bar"><input id="search" type="search" placeholder="search reasons, symbols,'
        ' dates" aria-label="search trades"><button id="back">‹ back</button><button id="next">next'
        ' ›</button><span id="where"></span></div><noscript>The table needs JavaScript.</noscript>'
        f"{note}{_trade_head()}"
        f'<script type="application/json" id="trades-data">{_trade_data(numbered, money)}</script>'
        '<p class="note">A click on a trade shows it in the chart of its symbol. Times are UTC.</p>'
    ))  # fmt: skip


_COLUMNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("#", {"decimals": 0}),
    ("symbol", {"words": True}),
    ("quantity", {"decimals": 8, "tone": True}),
    ("opened", {"time": True}),
    ("entry", {"decimals": 10}),
    ("closed", {"time": True}),
    ("exit", {"decimals": 10}),
    ("profit", {"tone": True}),
    ("fees", {}),
    ("funding", {}),
    ("why in", {"words": True}),
    ("why out", {"words": True}),
)


def _trade_head() -> str:
    heads = "".join(
        f"<th{' class=words' if rules.get('words') else ''}><button>{name}</button></th>"
        for name, rules in _COLUMNS
    )
    return (
        f'<div class="scroll"><table id="trades"><thead><tr>{heads}</tr></thead><tbody></tbody>'
        "</table></div>"
    )


def _trade_data(numbered: list[tuple[int, Trade]], money: Money) -> str:
    places: dict[str, int] = {}

    def word(text: str) -> int:
        return places.setdefault(text, len(places))

    rows = [
        [number, word(t.symbol), t.quantity, t.opened_time, float(f"{t.entry_price:.10g}"),
         t.closed_time, float(f"{t.exit_price:.10g}"), round(t.profit, money.decimals),
         round(t.fees, money.decimals), round(t.funding, money.decimals), word(t.entry_reason),
         word(t.exit_reason)]
        for number, t in numbered
    ]  # fmt: skip
    columns = [{"decimals": money.decimals, **rules} for _, rules in _COLUMNS]
    data = {"columns": columns, "opened": 3, "closed": 5, "words": list(places), "rows": rows}
    return json_text(data)


def settings(result: Result) -> str:
    """What the run was made with, so that it can be made again."""
    account = result.account
    run = {
        "strategy": result.strategy,
        "data": result.market.label,
        "symbols": ", ".join(result.symbols),
        "candles": f"{result.candles:,} of {result.interval}",
        "period": f"{utc(result.first_time)} to {utc(result.last_time)} UTC",
        "ended by": result.ended_by,
    }
    fees = {
        name: "the instrument's own" if rate is None else f"{rate:g}"
        for name, rate in (("fee_taker", account.fee_taker), ("fee_maker", account.fee_maker))
    }
    on_exchange = {"cash": f"{account.cash:g}", **fees, **_fields(account.exchange)}
    if account.funding:
        on_exchange["funding_rate"] = "recorded rates"
    halves = "".join(
        f"<div><h3>{name}</h3>{table((), list(values.items()), 'pairs')}</div>"
        for name, values in (
            ("run", run),
            ("parameters", {key: str(value) for key, value in result.params.items()} or {"–": ""}),
            ("account and exchange", on_exchange),
            ("risk", _fields(result.risk)),
        )
    )
    return _section("Parameters and settings", f'<div class="halves">{halves}</div>')


def _fields(struct: msgspec.Struct) -> Mapping[str, str]:
    values = msgspec.to_builtins(struct)
    return {
        name: f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in values.items()
    }


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{title}</h2>{inside}</section>"
