"""What people wrote, and where: places, diagnostic codes, nearest words, the log section."""
