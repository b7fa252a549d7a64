"""Pictures as files (reading), by name and as tensors (photos), side by side with labels (sheet), and as charts. Read photos first."""
