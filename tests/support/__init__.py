"""What tests share: builders of tiny real parts, and what holds for more than one kind of test."""
