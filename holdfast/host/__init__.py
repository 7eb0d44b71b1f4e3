"""The only code that touches a kernel: agent, keeper, hypervisor, image cache, network."""
