"""What De and Smith's argument says of the shares of blocks under BatchNorm."""

import numpy as np

GAMMA = 2.0


def blocks(arm):
    """The indices of blocks, from 1."""
    return np.arange(1, len(arm["initial_share"][0]) + 1)


def law(shares):
    """`(slope, error, constant)` of 1 / share = slope * l + constant, over runs."""
    lines = [np.polyfit(np.arange(1, len(s) + 1), 1 / np.array(s), 1) for s in shares]
    slope, constant = np.mean(lines, axis=0)
    return slope, np.std(lines, axis=0, ddof=1)[0] / len(lines) ** 0.5, constant


def law_shares(arm):
    """1/(l + c) for every block, with c from the fit."""
    return 1 / (blocks(arm) + law(arm["initial_share"])[2])


def expected_last(shares, gamma):
    """The last block's share where its branch is `gamma` times as large."""
    last = np.array(shares)[:, -1]
    return gamma**2 * last / (1 - last + gamma**2 * last)


def expected_with_gamma(arm):
    """The last block's share with `GAMMA`, mean over runs."""
    return expected_last(arm["initial_share"], GAMMA).mean()


def largest_depth(arm):
    """1/2 + 1/3 + ... + 1/(L + 1), the effective depth where c = 1."""
    return sum(1 / (blocks(arm) + 1))
