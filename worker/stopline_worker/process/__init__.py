"""What one worker process is put together from."""
