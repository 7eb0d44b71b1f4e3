"""What guests are told about themselves: over 169.254.169.254 and on a config drive."""
