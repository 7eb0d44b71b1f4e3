"""Machines on one host: the driver protocol and its drivers."""
