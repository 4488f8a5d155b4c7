"""Import, deletion and export of whole graphs, as jobs that go on where they were left."""
