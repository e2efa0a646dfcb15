"""Units that are always on or always off, by depth, and why."""
