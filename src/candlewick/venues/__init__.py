"""The venues room."""
