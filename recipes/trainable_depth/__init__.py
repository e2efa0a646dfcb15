"""The largest depth that trains, with and without shortcuts and normalization."""
