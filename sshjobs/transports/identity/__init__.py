"""Which connection a HOST means, and what a login to it rests on."""
