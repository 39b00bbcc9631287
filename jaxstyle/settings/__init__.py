"""What a run can be told: the settings, their texts, the presets."""
