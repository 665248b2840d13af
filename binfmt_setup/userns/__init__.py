"""Private user namespaces with a registry of their own."""
