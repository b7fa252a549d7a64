"""Statistics on similarities. Read comparisons first, then rates.

comparisons  similarities of images to references: the table that everything else reads
rates        FMR, FNMR, DET, EER and the lowest FMR that a number of comparisons supports
bootstrap    confidence intervals over subjects
verdicts     same person, likely or not alike
copies       tells likenesses from copies of training photos
pick         the best of several candidates per age
"""
