"""Objects in a bucket: Cloudflare R2 and whatever speaks S3; requests signed here, carried by urllib3."""
