"""The report of a backtest: one HTML file with its figures, charts and trades."""

from candlewick.backtesting.report.page import check_path, report_html, write_report

__all__ = ["check_path", "report_html", "write_report"]
