"""Measures a cloud that it brings up itself, beside yardsticks of the same machine in the same run."""
