"""What every facade stands on: routes as data, one call, faults, policy, and the ASGI application."""
