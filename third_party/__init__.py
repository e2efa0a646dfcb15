"""Importers for the checkpoints of published implementations, one package each.

Beside every importer lie values recorded from its original, with which the tests
prove that both compute the same function. No foreign code.
"""
