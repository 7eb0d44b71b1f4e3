"""The files of volumes and snapshots on one host."""
