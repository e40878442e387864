"""What scripts/reference writes about documents: their page, and its examples."""
