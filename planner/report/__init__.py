"""A result made visible on a terminal."""
