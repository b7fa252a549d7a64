"""Numbers about similarities. Read comparisons first, then rates.

comparisons  pictures against references: the one table that everything reads
rates        FMR, FNMR, DET, EER and what so many comparisons support
bootstrap    intervals over subjects
verdicts     what a similarity means
copies       is it the person, or a training photo again?
pick         the best of several candidates for each age
"""
