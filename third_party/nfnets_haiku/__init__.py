"""The NFNet authors' networks in Haiku: see README.md."""
