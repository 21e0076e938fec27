"""The Train page: settings, a run while it learns, and runs side by side."""
