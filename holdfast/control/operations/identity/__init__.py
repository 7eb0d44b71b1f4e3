"""Identity: who is who, what they may, tokens and the changes that revoke them."""
