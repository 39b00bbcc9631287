"""A sweep: its grid and folder, its share of the work, its sheet and page."""
