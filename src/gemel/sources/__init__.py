"""Sources: what stands outside and is read into the twins, each by one process, from where it was left."""
