"""What stands between the network and the pages: closed doors, bounded uploads, memory that is given back."""
