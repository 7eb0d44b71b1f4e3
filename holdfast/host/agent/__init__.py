"""The agent: makes one host equal to its desired state, from reality, again and again."""
