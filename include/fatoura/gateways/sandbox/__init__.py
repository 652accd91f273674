"""A gateway for demos and tests: speaks Kannel's sendsms interface, delivers to nobody, fails as asked."""

from __future__ import annotations

from fatoura.gateways.sandbox.behaviour import FAULTS, OUTCOMES, SandboxOptions
from fatoura.gateways.sandbox.server import Sandbox

__all__ = ["FAULTS", "OUTCOMES", "Sandbox", "SandboxOptions"]
