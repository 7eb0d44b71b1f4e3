"""The control plane below the APIs: the store, the scheduler, operations and reconcilers."""
