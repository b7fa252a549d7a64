"""Pictures: files (reading), by name and as tensors (photos), alike (repeats), in sheets, charts. Read photos first."""
