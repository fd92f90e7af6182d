"""Files and formats: the only room, with `steps`, that knows them."""
