"""The Hugging Face Hub: log in, download, upload."""
