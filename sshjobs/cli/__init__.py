"""The command line: words in, one verb called, lines and an exit status out."""
