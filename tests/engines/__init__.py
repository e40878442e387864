"""Every engine against one conformance suite, with real databases and files."""
