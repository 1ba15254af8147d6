"""Which connection a HOST means, and the files that a login rests on."""
