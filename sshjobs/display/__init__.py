"""Text that is shown to people; it holds no control characters, and nothing prints."""
