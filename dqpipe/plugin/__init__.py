"""The contract with plugins: the kinds of extension, the hooks, and how plugins are found."""
