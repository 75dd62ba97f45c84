"""What the homework's notebooks share. Each module is named after the notebook that shows it."""
