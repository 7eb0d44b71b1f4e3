"""What shows that a host is off: leases, proofs, how its machine is switched off, and the clock they are told by."""
