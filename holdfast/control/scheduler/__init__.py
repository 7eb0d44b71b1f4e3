"""Where an instance goes: a pure function of a request and a snapshot."""
