"""What the tests of several recipes share."""

import pytest

COST = {"seconds", "steps_per_second", "peak_memory_mb"}


@pytest.fixture
def without_cost():
    """A function that leaves what must be the same in every run."""

    def strip(content):
        if isinstance(content, dict):
            return {k: strip(v) for k, v in content.items() if k not in COST}
        if isinstance(content, list):
            return [strip(item) for item in content]
        return content

    return strip
