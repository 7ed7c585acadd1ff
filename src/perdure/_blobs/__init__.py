"""Content-addressed bytes: adapters of the Blobs port."""
