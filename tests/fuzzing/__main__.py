"""Prints how calls of the public API end: python -m tests.fuzzing [calls] [start]."""

import collections
import sys
import time

import keras

from tests.fuzzing import calls, targets

number, start = (int(x) for x in (sys.argv[1:] + ["1000", "0"][len(sys.argv) - 1 :]))
found, since = targets.targets(), time.time()
weights = targets.weights(found)
ended = []
for index in range(start, start + number):
    keras.utils.set_random_seed(index)
    began = time.time()
    (one,) = calls.run(found, weights, [index])
    ended.append(one)
    if one.how not in calls.FINE:
        print(index, one, flush=True)
    elif time.time() - began > 3:
        print(f"{index} took {time.time() - began:.0f} s: {one.target}", flush=True)
print(calls.counts(ended), f"{time.time() - since:.0f} s")
print(collections.Counter(e.target for e in ended if e.how not in calls.FINE))
