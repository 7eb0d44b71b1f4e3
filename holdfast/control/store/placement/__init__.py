"""What hosts have promised, as rows of consumers."""
