"""How far one can trust the doctor: `python -m benchmarks.doctor`.

`cases` holds the programs, `parts` what is done with each of them, `figures` what is
counted over all, `report` what is printed.
"""
