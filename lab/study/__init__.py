"""Compares training methods on subjects of the synthetic world, evaluated by networks that no training used.

plan       methods and subjects of the study
trials     saves rows, and evaluates generated images
paths      trains one subject with one method and saves a row of numbers at several steps
frontier   compares methods along their steps, at equal age error and leakage
spread     compares photos of several ages with as many photos of one age
steps      compares the step that a judge chose with the last step; gradients compares the losses' gradients
results    turns rows into rates with intervals, and writes tables; plots and page write the rest

training/world/recipe.py holds the settings that the study shares with the demo.
"""
