"""Figures: styles, panels, and curves that are declared."""
