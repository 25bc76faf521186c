"""`foretell ui`: the what-if page and the server behind it (extra `ui`); nothing here is imported without it."""
