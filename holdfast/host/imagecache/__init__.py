"""The host's image cache: verified bases, fetched once, that overlays stand on. Knows no hypervisor and no store."""
