"""Beyond the Loss: methods, models and experiments of the book."""
