"""Results → tables, pictures and files."""
