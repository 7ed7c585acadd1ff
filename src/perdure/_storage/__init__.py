"""Places for bytes, by URL: the local file system, S3, Google Cloud Storage, Azure."""
