"""What every floor needs: errors, paths, storage, jobs, statistics."""
