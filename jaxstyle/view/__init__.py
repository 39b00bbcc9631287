"""A page that shows a run as it is painted: what it sees, and the server of the page."""
