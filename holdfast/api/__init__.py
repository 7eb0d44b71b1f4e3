"""Facades that translate: OpenStack's and EC2's words outside, ours inside. No rules live here."""
