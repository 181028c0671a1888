"""What `make check` and `make docs` run beside the usual tools."""
