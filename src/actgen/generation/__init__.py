"""Hard examples -> requests -> samples -> the store: the round and its parts."""
