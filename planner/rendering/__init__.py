"""A plan made files: launch descriptions laid out by templates."""
