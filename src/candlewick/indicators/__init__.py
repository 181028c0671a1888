"""The indicators room."""
