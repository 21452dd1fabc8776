"""An example of a package that adds plugins to the quick-look."""
