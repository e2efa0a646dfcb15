"""What the rooms of `fixinit.diagnostics` share: batches, losses, trial runs."""

__all__: list[str] = []
