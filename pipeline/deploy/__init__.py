"""What images and templates for Dataflow are made with."""
