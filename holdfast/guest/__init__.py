"""What runs inside the tiny test guest: shell scripts for busybox, packed into its ramdisk by host/imagebuild.

`init` starts busybox init, whose only entry is `console`, which runs `boot` once. Nothing here is Python:
the guest has none. Every script must survive hostile user data, and every wait in them is bounded.
"""
