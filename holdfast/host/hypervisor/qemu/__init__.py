"""QEMU as a hypervisor: one process and one directory per machine, no daemon between."""
