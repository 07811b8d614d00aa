"""Projects of one's own: workspaces that lie apart from the code."""
