"""The measurements behind docs/guidelines.md, by topic."""
