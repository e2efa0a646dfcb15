"""What every benchmark needs: its declaration, its processes, its report."""
