"""From the files of a release to the items that a plugin sees: download, read, check, pack, vault."""
