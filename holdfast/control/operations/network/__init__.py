"""Networks, ports, addresses, routers and security groups: the rules that every API uses."""
