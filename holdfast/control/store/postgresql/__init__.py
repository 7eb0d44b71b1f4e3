"""What only PostgreSQL needs: connections that break, clocks that differ, and replicas that wake each other."""
