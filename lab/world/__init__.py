"""Trains the synthetic world's networks. Each command resumes where it stopped, and uses a GPU if there is one.

The shipped weights came from these commands, in this order. Logs and verify.json are beside the weights.

    python -m lab.world.train_matchers loss --steps 5000      then again with --steps 9000
    python -m lab.world.train_matchers score
    python -m lab.world.train_matchers age --pictures 8192 --steps 2500
    python -m lab.world.train_matchers age-judge --pictures 12288 --steps 2500
    python -m lab.world.verify
    python -m lab.world.autoencoder            30 minutes on two cores; the base model's latents depend on it
    python -m lab.world.base --steps 9000      stopped after step 1827 for lack of time, then
    python -m lab.world.base --steps 5500      45 minutes on two cores
    python -m lab.world.preview --out sheet.png
    python -m lab.world.ship --weights training/world/weights/base.safetensors
"""
