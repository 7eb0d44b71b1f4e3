"""The composition root: where the parts are made and the processes start."""
