"""Acts on servers: one file each, and what they share."""
