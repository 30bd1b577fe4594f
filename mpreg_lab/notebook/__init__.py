"""What a person sees in Jupyter."""
