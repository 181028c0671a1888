"""`MetricsServer`: metrics, health, readiness and status of a running engine over HTTP.

/          the dashboard, a page for people
/metrics   Prometheus' text format
/health    200 as long as the event loop answers
/ready     200, or 503 with a list of what is not as it should be
/status    the figures of this moment
/story     the equity so far, and what has happened lately
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import msgspec
from aiohttp import web

from candlewick.errors import ConfigError
from candlewick.monitoring.collectors import collectors_of
from candlewick.monitoring.dashboard import HEADERS, dashboard_page
from candlewick.monitoring.exposition import CONTENT_TYPE, Exposition
from candlewick.monitoring.health import problems
from candlewick.monitoring.metrics import Metrics
from candlewick.monitoring.process import read_process
from candlewick.monitoring.settings import LOOPBACK, MonitoringSettings
from candlewick.monitoring.sources import Sources

__all__ = ["MetricsServer"]

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MetricsServer:
    """Serves the figures of one engine, on its event loop.

    Use it as an async context, or `start` and `stop` it.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(self, settings: MonitoringSettings, sources: Sources, metrics: Metrics) -> None:
        self.settings = settings
        self.host = settings.host
        self.port = settings.port
        self._sources = sources
        self._metrics = metrics
        self._exposition = Exposition(collectors_of(sources, metrics))
        self._dashboard = dashboard_page().encode()
        self._started = time.monotonic()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Begin to listen; ``port`` is the one it got."""
        guard = [_only_local_names] if self.host in LOOPBACK else []
        app = web.Application(middlewares=guard)
        app.router.add_get("/", self._serve_dashboard)
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/health", self._serve_health)
        app.router.add_get("/ready", self._serve_ready)
        app.router.add_get("/status", self._serve_status)
        app.router.add_get("/story", self._serve_story)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(
                f"metrics cannot be served on {self.host}:{self.port}: {error.strerror};"
                " choose another monitoring.port (0 takes any free one)"
            ) from error
        self._runner = runner
        self.port = int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Close all connections. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> MetricsServer:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    # -- what is served ---------------------------------------------------------------------------

    async def _serve_dashboard(self, request: web.Request) -> web.Response:
        return web.Response(body=self._dashboard, headers=HEADERS)

    async def _serve_story(self, request: web.Request) -> web.Response:
        return _json(self._sources.story())

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        body = await self._exposition.render()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _serve_health(self, request: web.Request) -> web.Response:
        return _json({"alive": True, "uptime_s": round(time.monotonic() - self._started, 3)})

    async def _serve_ready(self, request: web.Request) -> web.Response:
        found = problems(self._sources, self._metrics)
        return _json({"ready": not found, "not_ready": found}, 503 if found else 200)

    async def _serve_status(self, request: web.Request) -> web.Response:
        """The status value's own fields, and beside them what is known of the process."""
        figures = read_process()  # realtime: allow RT101 - /proc is memory, not disk
        lag = self._metrics.lag
        status: dict[str, Any] = msgspec.to_builtins(self._sources.status())
        status |= {
            "not_ready": problems(self._sources, self._metrics),
            "process": {
                "pid": os.getpid(),
                "uptime_s": round(time.monotonic() - self._started, 3),
                "resident_bytes": figures.resident,
                "threads": figures.threads,
                "loop_lag_p99_ms": min(lag.histogram.quantile_ns(0.99), lag.worst_ns) / 1e6,
                "loop_lag_worst_ms": lag.worst_ns / 1e6,
            },
        }
        return _json(status)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json"
    )


@web.middleware
async def _only_local_names(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuse requests that reached the loopback address under a foreign name.

    A web page can make a browser ask any address, this one too, by a name of its own that resolves
    to 127.0.0.1 (DNS rebinding); the name then stands in the Host header.
    """
    if (request.url.host or "") not in LOOPBACK:
        raise web.HTTPForbidden(text=f"this server answers to {', '.join(sorted(LOOPBACK))}\n")
    return await handler(request)
