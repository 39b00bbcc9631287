"""Pictures: their files, their sizes, and canvases."""
