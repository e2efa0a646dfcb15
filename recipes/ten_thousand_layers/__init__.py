"""Training of networks of ten thousand layers."""
