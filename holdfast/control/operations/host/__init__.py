"""What the control plane knows and decides of hosts: their leases, whether they are dead, and who still holds what."""
