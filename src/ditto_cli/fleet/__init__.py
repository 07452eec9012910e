"""Many people at once, on Ray: a training each, anywhere in a cluster; adapters lie in this machine's store alone."""
