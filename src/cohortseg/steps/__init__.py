"""One file per stage: read, call the rooms, write. Only here do settings, stores and work meet."""
