"""The bus room."""
