"""The Dataset page: browse, audit and add images."""
