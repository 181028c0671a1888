"""The sandbox: a server that speaks the exchange's protocol over the simulated exchange."""

from candlewick.sandbox.conductor import Moved
from candlewick.sandbox.faults import Fault, FaultKind, load_faults, parse_faults
from candlewick.sandbox.server import Sandbox
from candlewick.sandbox.settings import Limits, SandboxSettings

__all__ = [
    "Fault",
    "FaultKind",
    "Limits",
    "Moved",
    "Sandbox",
    "SandboxSettings",
    "load_faults",
    "parse_faults",
]
