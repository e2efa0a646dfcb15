"""Training of one network, as for a paper: `python -m recipes.train`."""
