"""Pictures: files (reading), by name and as tensors (photos), alike (repeats), their shapes (buckets) and where the
person is (masks), in sheets and charts. Read photos first.
"""
