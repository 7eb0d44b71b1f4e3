"""What every room may use: errors, ids, time, logs, limits, configuration, processes. Imports nothing of ours."""
