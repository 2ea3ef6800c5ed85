"""What leaves: outcomes go to who wants to be told of them, and into the archive."""
