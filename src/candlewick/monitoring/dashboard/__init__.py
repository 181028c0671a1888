"""The dashboard: one page, served by the engine itself, that asks it for its figures."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["HEADERS", "dashboard_page"]

# the page asks this engine and nobody else, and nothing of others runs in it
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
        " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def dashboard_page() -> str:
    """The page with its style and its script in it; read from the package at each call."""
    page, style, script = (
        files(__package__).joinpath(f"page.{kind}").read_text(encoding="utf-8")
        for kind in ("html", "css", "js")
    )
    return page.replace("/* style */", style).replace("/* script */", script)
