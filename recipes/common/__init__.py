"""What recipes share: data sets, results on disk, plots and the report."""
