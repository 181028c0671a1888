"""The backtest room."""
