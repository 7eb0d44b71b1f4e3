"""The host's network: `DesiredHost` in, namespaces, bridges, rules and processes out; see docs/design/005."""
