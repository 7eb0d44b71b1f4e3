"""What agents and keepers call. They only dial out; everything is one host's own."""
