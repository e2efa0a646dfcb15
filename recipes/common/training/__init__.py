"""Training loops that recipes share."""
