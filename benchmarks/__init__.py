"""Speed and memory as ratios, measured side by side: `python -m benchmarks`.

Every file of this package holds one benchmark, or a few that belong together, in a list
`BENCHMARKS`. `benchmarks/resnet.py` is one to write the next after; what all of them
need is in `benchmarks/common`.
"""
