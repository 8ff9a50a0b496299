"""What tests may reach over the network."""
