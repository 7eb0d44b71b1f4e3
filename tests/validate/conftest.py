"""The same cloud as the command line's own tests have."""

from __future__ import annotations

from tests.cli.conftest import here, processes_environment, simulated

__all__ = ["here", "processes_environment", "simulated"]
