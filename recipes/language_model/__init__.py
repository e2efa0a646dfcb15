"""Training of a language model on text: `python -m recipes.language_model`."""
