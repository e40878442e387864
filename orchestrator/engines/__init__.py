"""One module per engine; each knows one kind of source. Found by module name and by entry point."""
