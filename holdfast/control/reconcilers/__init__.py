"""What repairs drift: the loop, and one file per drift. Periodic, input-free, bounded, no retries inside."""
