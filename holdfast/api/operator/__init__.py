"""What operators of the cloud ask of it and no OpenStack API has: hosts, their leases and fencing, evacuations."""
