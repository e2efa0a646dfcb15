"""The shortcut where the width changes: parameters, mean square, accuracy."""
