"""Pictures as files and tensors (photos), side by side with labels (sheet), and as charts. Read photos first."""
