"""`foretell ui`: the what-if page and the server behind it (extra `ui`)."""
